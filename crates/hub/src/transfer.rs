//! HTTP for large files: resumed where it was cut off, patient with busy servers, and close with the token.
//!
//! The `hf-hub` crate downloads too, but it neither checks lengths, nor heeds `Retry-After`, nor notices a server that
//! sends all of a file when its rest is requested.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use crate::origin::{Origin, is_absolute, join};
use crate::watch::Transfer;

/// How long to wait for a server, how often to ask it again, and how much to take from it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Requests in a row that may bring nothing before the source is given up.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with every further one.
    pub pause: Duration,
    /// The longest pause; a server that asks for a longer one is given up.
    pub longest_pause: Duration,
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest silence on a connection.
    pub silence: Duration,
    /// An answer that comes in at less than 1,024 bytes a second for so long is broken off.
    pub crawl: Duration,
    /// The most bytes of a file, whatever its server says.
    pub largest: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            crawl: Duration::from_secs(60),
            largest: 16 << 30,
        }
    }
}

/// Why a request did not bring what was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such file.
    Missing(String),
    /// It may work later; the server may have said when. `gained`: it brought some of the bytes.
    Passing { why: String, wait: Option<Duration>, gained: bool },
    /// The server cannot be reached at all.
    Unreachable(String),
    /// Asking again would not help.
    Final(anyhow::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Final(error.into())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    /// As an error for people.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Missing(why) | Self::Unreachable(why) | Self::Passing { why, .. } => anyhow!(why),
            Self::Final(error) => error,
        }
    }
}

pub(crate) fn passing(why: impl ToString) -> Failure {
    Failure::Passing { why: why.to_string(), wait: None, gained: false }
}

pub(crate) fn hopeless(why: String) -> Failure {
    Failure::Final(anyhow!(why))
}

/// A client that knows one endpoint, and the token that belongs to it alone.
pub(crate) struct Client {
    pub(crate) agent: Agent,
    pub(crate) home: Origin,
    pub(crate) token: Option<String>,
    patience: Patience,
}

const MOST_REDIRECTS: usize = 5;
/// What helps against a server that is not to be believed.
const BY_HAND: &str =
    "take another source, or fetch the file by hand and name its folder in the manifest: [[source]] kind = \"path\"";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Head,
    Get,
}

impl Client {
    /// A client for `endpoint`. Opens no connection.
    pub(crate) fn new(endpoint: &str, token: Option<String>, patience: Patience) -> Result<Self> {
        let home = Origin::of(endpoint)?;
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .user_agent(concat!("mtl/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, home, token, patience })
    }

    /// Status and headers that the endpoint itself returns; a redirect to where the bytes lie is not followed.
    pub(crate) fn head(&self, url: &str) -> Result<(StatusCode, HeaderMap), Failure> {
        self.patiently(|| {
            let response = self.send(Method::Head, url, 0)?;
            Ok((response.status(), response.headers().clone()))
        })
    }

    /// Downloads `url` into the file `part`, continuing after the bytes that it already holds. `size` is how many there
    /// have to be in the end, if that is known.
    pub(crate) fn download(
        &self,
        url: &str,
        part: &Path,
        size: Option<u64>,
        transfer: &mut dyn Transfer,
    ) -> Result<(), Failure> {
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(part)?;
        let mut most = file.metadata()?.len();
        if size.is_some_and(|size| most > size) {
            file.set_len(0)?;
            most = 0;
        }
        self.patiently(|| {
            let here = file.metadata()?.len();
            if here > 0 && size == Some(here) {
                return Ok(());
            }
            let outcome = self.stream(url, &mut file, size, transfer);
            let here = file.metadata()?.len();
            let gained = here > most;
            most = most.max(here);
            match outcome {
                Err(Failure::Passing { why, wait, .. }) => Err(Failure::Passing { why, wait, gained }),
                other => other,
            }
        })
    }

    /// Repeats `attempt` while its failures may pass.
    pub(crate) fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut in_a_row = 0;
        // A server that cuts every answer short gets there as long as each brings something, but not for ever.
        for _ in 0..self.patience.attempts.max(1) * 40 {
            let (why, wait, gained) = match attempt() {
                Err(Failure::Passing { why, wait, gained }) => (why, wait, gained),
                other => return other,
            };
            in_a_row = if gained { 1 } else { in_a_row + 1 };
            if in_a_row >= self.patience.attempts {
                return Err(passing(format!("{why}; given up after {in_a_row} attempts in a row")));
            }
            let longest = self.patience.longest_pause;
            if let Some(wait) = wait.filter(|wait| *wait > longest) {
                return Err(passing(format!("{why}; it asks to come back in {} s", wait.as_secs())));
            }
            let pause = self.patience.pause.saturating_mul(1 << (in_a_row - 1).min(16));
            std::thread::sleep(wait.unwrap_or(pause).min(longest));
        }
        Err(passing("given up: every response brought only a little"))
    }

    /// One request for what is missing of `file`.
    fn stream(
        &self,
        url: &str,
        file: &mut File,
        size: Option<u64>,
        transfer: &mut dyn Transfer,
    ) -> Result<(), Failure> {
        let here = file.metadata()?.len();
        let mut response = self.send(Method::Get, url, here)?;
        let headers = response.headers();
        let mut start = 0;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            start = range_start(headers).ok_or_else(|| hopeless("it sent a part of the file, and not which".into()))?;
        } else if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            file.set_len(0)?;
            return Err(passing("it has fewer bytes than are here already"));
        }
        if start > here {
            return Err(hopeless(format!("asked for the bytes from {here} on, it sent those from {start} on")));
        }
        let page = header(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html"));
        if page && !url.ends_with(".html") {
            let why =
                "it sent an HTML page, not the file: check HF_ENDPOINT, the proxy, or whether a login is asked for";
            return Err(hopeless(why.into()));
        }
        let promised = header(headers, "content-length").and_then(|length| length.parse::<u64>().ok());
        let promised = promised.map(|length| start + length);
        if let (Some(size), Some(promised)) = (size, promised)
            && size != promised
        {
            return Err(hopeless(format!("wrong length: it offers {promised} bytes of a file of {size}")));
        }
        // Also cuts the file where a server answers a request for its rest with more than that.
        file.set_len(start)?;
        file.seek(SeekFrom::Start(start))?;
        let end = size.or(promised);
        let largest = self.patience.largest;
        if let Some(end) = end.filter(|end| *end > largest) {
            return Err(hopeless(format!("it offers {end} bytes, where a file may have {largest}; {BY_HAND}")));
        }
        // One byte more than there may be tells that there are more; the rest of them, of which there may be no end, is
        // not taken.
        let most = end.unwrap_or(largest).saturating_add(1);
        let mut body = response.body_mut().as_reader().take(most.saturating_sub(start));
        let came = self.copy(&mut body, file, start, transfer)?;
        match end {
            Some(end) if came < end => Err(passing(format!("the stream ended after {came} of {end} bytes"))),
            _ if came < most => Ok(()),
            found => {
                file.set_len(0)?;
                Err(hopeless(match found {
                    Some(end) => format!("wrong length: it sends more than the {end} bytes of the file"),
                    None => format!(
                        "it says no length, and sends more than the {largest} bytes that a file may have; {BY_HAND}"
                    ),
                }))
            }
        }
    }

    /// Copies a body to the end of `file`, which then holds the number of bytes returned.
    fn copy(
        &self,
        body: &mut dyn Read,
        file: &mut File,
        start: u64,
        transfer: &mut dyn Transfer,
    ) -> Result<u64, Failure> {
        let began = Instant::now();
        let mut at = start;
        let mut buffer = vec![0_u8; 1 << 16];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => return Ok(at),
                Ok(read) => read,
                Err(error) => return Err(passing(format!("the stream broke after {at} bytes ({error})"))),
            };
            file.write_all(&buffer[..read])?;
            at += read as u64;
            transfer.at(at);
            let seconds = began.elapsed();
            if seconds > self.patience.crawl && ((at - start) as f64) < 1024.0 * seconds.as_secs_f64() {
                return Err(passing(format!("it sends less than a KiB a second ({at} bytes so far)")));
            }
        }
    }

    /// Sends a request, follows redirects, and judges the status. `from`: the first byte wanted.
    fn send(&self, method: Method, url: &str, from: u64) -> Result<Response<Body>, Failure> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let here = Origin::of(&url)?;
            let mut request = match method {
                Method::Head => self.agent.head(&url),
                Method::Get => self.agent.get(&url),
            };
            // Lengths and ranges are those of the file only if nobody compresses it on the way.
            request = request.header("Accept-Encoding", "identity");
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let ours = here == self.home && here.keeps_secrets();
            if let Some(token) = self.token.as_ref().filter(|_| ours) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| broken(error, here.host()))?;
            let location = header(response.headers(), "location").filter(|_| response.status().is_redirection());
            let Some(location) = location else { return self.judge(response, &here) };
            let answered = response.headers().contains_key("x-repo-commit");
            if method == Method::Head && is_absolute(location) && answered {
                return Ok(response);
            }
            let next = join(&url, location);
            here.redirect(&Origin::of(&next)?, &self.home)?;
            url = next;
        }
        Err(hopeless(format!("more than {MOST_REDIRECTS} redirects")))
    }

    fn judge(&self, response: Response<Body>, here: &Origin) -> Result<Response<Body>, Failure> {
        let status = response.status();
        let said = header(response.headers(), "x-error-message").map(|said| format!(": {said}")).unwrap_or_default();
        let said = format!("{} returns {}{said}", here.host(), status.as_u16());
        match status.as_u16() {
            200 | 206 | 416 => Ok(response),
            401 | 403 if self.token.is_none() => {
                Err(hopeless(format!("{said}; private, gated or misspelt: set HF_TOKEN to a token that may read it")))
            }
            401 | 403 => Err(hopeless(format!("{said}; the token in HF_TOKEN may not read it, or it is misspelt"))),
            404 => Err(Failure::Missing(format!("{said} (no such file)"))),
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                let wait = header(response.headers(), "retry-after").and_then(|seconds| seconds.trim().parse().ok());
                Err(Failure::Passing { why: said, wait: wait.map(Duration::from_secs), gained: false })
            }
            _ => Err(hopeless(said)),
        }
    }
}

/// The header `name`, if it is readable text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The first byte that an answer in part brings.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-range")?.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// What a request that got no answer means. A connection that broke may be made anew; one that could not be made at
/// all says that the next source should be tried without delay.
pub(crate) fn broken(error: ureq::Error, host: &str) -> Failure {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof};
    const MIDWAY: [std::io::ErrorKind; 6] =
        [BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof];
    let why = format!("cannot reach {host}: {error}");
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_) => Failure::Unreachable(why),
        ureq::Error::Io(error) if !MIDWAY.contains(&error.kind()) => Failure::Unreachable(why),
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => passing(why),
        _ => hopeless(why),
    }
}
