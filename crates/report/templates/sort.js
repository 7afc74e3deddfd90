for (const head of document.querySelectorAll("table.sortable th")) {
  const button = head.firstElementChild;
  button.addEventListener("click", () => {
    const rows = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const number = head.classList.contains("number");
    const key = row => {
      const cell = row.cells[head.cellIndex];
      return number ? (cell.dataset.sort === undefined ? NaN : Number(cell.dataset.sort)) : cell.textContent;
    };
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (number) return isNaN(x) ? (isNaN(y) ? 0 : 1) : isNaN(y) ? -1 : down ? y - x : x - y;
      return down ? y.localeCompare(x) : x.localeCompare(y);
    };
    rows.append(...[...rows.rows].sort(order));
  });
}
