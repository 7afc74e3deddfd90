//! Answers and truth to scores, statistics and reports.
