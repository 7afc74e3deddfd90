//! An HTTP server of this process, on the loopback, that notes what it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The first byte wanted.
    pub(crate) from: Option<usize>,
    pub(crate) token: Option<String>,
    pub(crate) host: Option<String>,
    /// All headers, their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    /// What was sent.
    pub(crate) body: Vec<u8>,
    /// Requests before this one.
    pub(crate) before: usize,
}

/// What is answered. A range is cut out of `body` unless `whole` is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
    /// Hang up after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// The pause before each of the first bytes.
    pub(crate) drip: Duration,
    /// Say no length, and send the body again and again for as long as somebody reads.
    pub(crate) endless: bool,
}

impl Reply {
    pub(crate) fn of(body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), ..Self::default() }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Serves until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(Request, usize)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ended, answer) = (seen.clone(), stop.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, with the number of body bytes sent for each.
    pub(crate) fn seen(&self) -> Vec<(Request, usize)> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The requests so far for bytes of files.
    pub(crate) fn gets(&self) -> usize {
        self.seen().iter().filter(|(request, _)| request.method == "GET").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<(Request, usize)>>, answer: &dyn Fn(&Request) -> Reply) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = reader.by_ref().lines();
    let first = lines.next()?.ok()?;
    let (method, rest) = first.split_once(' ')?;
    let mut request = Request {
        method: method.to_owned(),
        path: rest.split(' ').next()?.to_owned(),
        from: None,
        token: None,
        host: None,
        headers: BTreeMap::new(),
        body: Vec::new(),
        before: 0,
    };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_lowercase().as_str() {
            "range" => request.from = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            "host" => request.host = Some(value.trim().to_owned()),
            "authorization" => request.token = Some(value.trim().to_owned()),
            _ => {}
        }
        request.headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if let Some(length) = request.headers.get("content-length").and_then(|length| length.parse().ok()) {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
    }
    let index = {
        let mut seen = seen.lock().expect("no panic");
        request.before = seen.len();
        seen.push((request.clone(), 0));
        request.before
    };
    let mut reply = answer(&request);
    let total = reply.body.len();
    match request.from.filter(|_| reply.status == 200 && !reply.whole) {
        Some(from) if from >= total => reply = Reply::status(416).with("Content-Range", format!("bytes */{total}")),
        Some(from) => {
            reply.status = 206;
            reply.body.drain(..from);
            reply = reply.with("Content-Range", format!("bytes {from}-{}/{total}", total - 1));
        }
        None => {}
    }
    let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", reply.status);
    if !reply.endless && !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    if method == "HEAD" {
        return Some(());
    }
    if reply.endless {
        loop {
            stream.write_all(&reply.body).ok()?;
            seen.lock().expect("no panic")[index].1 += total;
        }
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    if reply.drip.is_zero() {
        // Noted first: who got all of it may look before this thread goes on.
        seen.lock().expect("no panic")[index].1 = body.len();
        stream.write_all(body).ok()?;
    } else {
        for byte in body {
            std::thread::sleep(reply.drip);
            stream.write_all(&[*byte]).ok()?;
            seen.lock().expect("no panic")[index].1 += 1;
        }
    }
    Some(())
}
