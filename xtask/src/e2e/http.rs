//! A client that shows what a server said, as it said it: nothing is followed, decoded or turned into an error.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ureq::http::Response;
use ureq::{Agent, Body};

/// An emulated guest answers within this even under load.
const PATIENCE: Duration = Duration::from_secs(60);

/// And has sent all of something large within this.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A client of one server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) at: SocketAddr,
    agent: Agent,
}

/// What the server said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header by its name in lower case; empty if it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map_or("", |(_, value)| value)
    }

    /// The head, but for the time of day: what two servers of the same files have in common.
    pub(super) fn head(&self) -> (u16, Vec<&(String, String)>) {
        let headers = self.headers.iter().filter(|(name, _)| name != "date");
        (self.status, headers.collect())
    }
}

impl Client {
    pub(super) fn new(at: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build();
        Self {
            at,
            agent: config.into(),
        }
    }

    /// The address of a page.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// Gets a page, with these request headers.
    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut response = self.open(path, headers, PATIENCE)?;
        let text = |value: &ureq::http::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        let status = response.status().as_u16();
        let mut body = Vec::new();
        response
            .body_mut()
            .as_reader()
            .read_to_end(&mut body)
            .with_context(|| format!("the body of {path}"))?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// The same with the body still to be read, all of it within `timeout`.
    pub(super) fn open(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Response<Body>> {
        // Unless a test asks for something else, no variant.
        let mut request = self
            .agent
            .get(self.url(path))
            .header("Accept-Encoding", "identity")
            .config()
            .timeout_global(Some(timeout))
            .build();
        for (name, value) in headers {
            if let Some(all) = request.headers_mut() {
                all.remove(*name);
            }
            request = request.header(*name, *value);
        }
        request.call().with_context(|| format!("GET {path}"))
    }

    /// Gets a page that must be there.
    pub(super) fn page(&self, path: &str) -> Result<Answer> {
        let answer = self.get(path, &[])?;
        ensure!(
            answer.status == 200,
            "GET {path} was answered with {}, not 200",
            answer.status
        );
        Ok(answer)
    }

    /// A connection of its own, for what no well-behaved client would do.
    pub(super) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Waits until the server answers anything.
    pub(super) fn wait_for_answer(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            match self
                .connect()
                .and_then(|mut stream| exchange(&mut stream, "/"))
            {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// One request and its answer's status and body on a connection that stays open.
pub(super) fn exchange(stream: &mut TcpStream, path: &str) -> Result<(u16, Vec<u8>)> {
    stream.write_all(request(path).as_bytes())?;
    read_answer(stream)
}

/// The plainest request for a page.
pub(super) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: xenlet.test\r\n\r\n")
}

/// Reads one answer with a `Content-Length`, or with the status that says that there is no content.
pub(super) fn read_answer(stream: &mut TcpStream) -> Result<(u16, Vec<u8>)> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes
            .windows(END_OF_HEAD.len())
            .position(|window| window == END_OF_HEAD)
        {
            break end + END_OF_HEAD.len();
        }
        more(stream, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .context("no status in the answer")?
        .parse::<u16>()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = match (status, length) {
        (204, None) => 0,
        (_, length) => length.context("no content-length")?.trim().parse()?,
    };
    while bytes.len() < end + length {
        more(stream, &mut bytes)?;
    }
    ensure!(
        bytes.len() == end + length,
        "{} bytes after the answer",
        bytes.len() - end - length
    );
    Ok((status, bytes.split_off(end)))
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    let mut part = [0; 16 * 1024];
    match stream.read(&mut part)? {
        0 => bail!("the connection ended after {} bytes", bytes.len()),
        count => bytes.extend_from_slice(&part[..count]),
    }
    Ok(())
}
