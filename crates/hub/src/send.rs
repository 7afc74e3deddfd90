//! Requests that bring something: a body for the endpoint's answer, and the bytes of a file for a storage server.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

use crate::origin::Origin;
use crate::transfer::{Client, Failure, broken, header, hopeless, passing};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;
/// A server that takes fewer bytes a second than this is given up.
const SLOWEST: u64 = 4096;

impl Client {
    /// What `url` answers to `body`: its status, a success or one of `also`, and its bytes.
    ///
    /// # Errors
    /// Any other status, with what the server says of it, a redirect among them, since nobody asked to send this elsewhere;
    /// as [`Client::put`] for a `url` that a server gave.
    pub(crate) fn post(&self, url: &str, kind: &str, body: &[u8], also: &[u16]) -> Result<(u16, Vec<u8>), Failure> {
        let here = Origin::of(url)?;
        self.home.redirect(&here, &self.home)?;
        self.patiently(|| {
            let mut request = self.agent.post(url).header("Content-Type", kind);
            if kind.contains("git-lfs") {
                request = request.header("Accept", kind);
            }
            if let Some(token) = self.secret(&here) {
                request = request.header("Authorization", token);
            }
            let mut response = request.send(body).map_err(|error| broken(error, here.host()))?;
            let status = response.status().as_u16();
            if !response.status().is_success() && !also.contains(&status) {
                return Err(refused(&mut response, &here));
            }
            answer(&mut response, &here).map(|bytes| (status, bytes))
        })
    }

    /// Sends the file at `path` to `url`, with the `headers` that whoever gave the URL asks for.
    ///
    /// # Errors
    /// If the file cannot be read, the server does not take it, or `url` leads out of encryption or into the own network.
    pub(crate) fn put(&self, url: &str, headers: &[(String, String)], path: &Path) -> Result<(), Failure> {
        let here = Origin::of(url)?;
        self.home.redirect(&here, &self.home)?;
        self.patiently(|| {
            let file = File::open(path)?;
            let longest = Duration::from_secs(60 + file.metadata()?.len() / SLOWEST);
            let mut request = self.agent.put(url).config().timeout_send_body(Some(longest)).build();
            let own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(token) = self.secret(&here).filter(|_| !own) {
                request = request.header("Authorization", token);
            }
            let mut response = request.send(&file).map_err(|error| broken(error, here.host()))?;
            match response.status().is_success() {
                true => Ok(()),
                false => Err(refused(&mut response, &here)),
            }
        })
    }

    /// What shows the token, if `here` is where it belongs.
    fn secret(&self, here: &Origin) -> Option<String> {
        let ours = *here == self.home && here.keeps_secrets();
        self.token.as_ref().filter(|_| ours).map(|token| format!("Bearer {token}"))
    }
}

fn answer(response: &mut Response<Body>, here: &Origin) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = response.body_mut().as_reader().take(LONGEST_ANSWER).read_to_end(&mut bytes);
    read.map_err(|error| passing(format!("the answer of {} broke off ({error})", here.host())))?;
    Ok(bytes)
}

/// Why a server did not take what it was sent.
fn refused(response: &mut Response<Body>, here: &Origin) -> Failure {
    let status = response.status().as_u16();
    let said = header(response.headers(), "x-error-message").map(String::from);
    let wait = header(response.headers(), "retry-after").and_then(|seconds| seconds.trim().parse().ok());
    let body = answer(response, here).unwrap_or_default();
    let said = said.or_else(|| {
        let object: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(object.get("error")?.as_str()?.to_owned())
    });
    let said = said.map(|said| format!(": {}", said.chars().take(300).collect::<String>())).unwrap_or_default();
    let said = format!("{} returns {status}{said}", here.host());
    match status {
        401 | 403 => hopeless(format!("{said}; the token has to be one that may write there: HF_TOKEN")),
        404 => Failure::Missing(said),
        408 | 425 | 429 | 500 | 502 | 503 | 504 => {
            Failure::Passing { why: said, wait: wait.map(Duration::from_secs), gained: false }
        }
        300..=399 => hopeless(format!("{said}, which leads elsewhere: check HF_ENDPOINT")),
        _ => hopeless(said),
    }
}
