//! A client of the queue.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::content::Content;
use super::http::{Answer, Client, LONG, read_answer};

/// Who may do what, on the guest's command line.
pub(super) const TOKENS: &str = "uploader=up downloader=down";
const UPLOADER: &str = "Bearer up";
const DOWNLOADER: &str = "Bearer down";

/// The uploads of one queue.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    client: Client,
}

/// An upload as the queue lists it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Listed {
    /// What the queue must say of this content.
    pub(super) fn of(name: &str, content: &Content) -> Self {
        Self {
            name: name.into(),
            bytes: content.bytes(),
            sha256: content.clone().sha256(),
        }
    }
}

impl Uploads {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
        }
    }

    /// Uploads, and checks what the queue acknowledges.
    pub(super) fn put(&self, name: &str, content: &Content) -> Result<()> {
        let mut stream = self.connect()?;
        let (status, body) = put(&mut stream, name, content)?;
        acknowledged(name, content, status, &body)
    }

    /// Uploads, and returns the status of the answer alone, whatever it is.
    pub(super) fn try_put(&self, name: &str, content: &Content) -> Result<u16> {
        put(&mut self.connect()?, name, content).map(|(status, _)| status)
    }

    /// The same with a body of unknown length.
    pub(super) fn try_put_chunked(&self, name: &str, content: &Content) -> Result<u16> {
        let mut stream = self.connect()?;
        let head = "Transfer-Encoding: chunked";
        let sent = send(&mut stream, name, head, content, |stream, part| {
            write!(stream, "{:x}\r\n", part.len())?;
            stream.write_all(part)?;
            stream.write_all(b"\r\n")
        });
        let sent = sent.and_then(|()| stream.write_all(b"0\r\n\r\n"));
        answer(&mut stream, sent).map(|(status, _)| status)
    }

    /// Begins an upload and breaks off after so many bytes.
    pub(super) fn put_and_cut(&self, name: &str, content: &Content, after: u64) -> Result<()> {
        let mut stream = self.connect()?;
        let head = head(name, &format!("Content-Length: {}", content.bytes()));
        stream.write_all(head.as_bytes())?;
        std::io::copy(&mut content.clone().take(after), &mut stream)?;
        Ok(())
    }

    /// A connection of its own.
    pub(super) fn connect(&self) -> Result<TcpStream> {
        let stream = self.client.connect()?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(stream)
    }

    /// Gets something small, as the downloader.
    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let role = [("Authorization", DOWNLOADER)];
        self.client.get(path, &[&role, headers].concat())
    }

    /// Fetches an upload and compares it.
    pub(super) fn fetch(&self, name: &str, content: &Content) -> Result<()> {
        let role = [("Authorization", DOWNLOADER)];
        let path = format!("/uploads/{name}");
        let mut response = self.client.open(&path, &role, LONG)?;
        let status = response.status().as_u16();
        ensure!(status == 200, "GET {path} was answered with {status}");
        let body = &mut response.body_mut().as_reader();
        content.clone().same(body).with_context(|| path)
    }

    /// The list, oldest first.
    pub(super) fn list(&self) -> Result<Vec<Listed>> {
        let answer = self.get("/uploads", &[])?;
        ensure!(
            answer.status == 200,
            "GET /uploads was answered with {}",
            answer.status
        );
        let text = String::from_utf8_lossy(&answer.body);
        serde_json::from_slice(&answer.body).with_context(|| format!("the list is {text}"))
    }

    /// Deletes an upload and returns the status of the answer.
    pub(super) fn delete(&self, name: &str) -> Result<u16> {
        delete(&mut self.connect()?, name)
    }

    /// The queue's counts.
    pub(super) fn stats(&self) -> Result<Value> {
        let answer = self.client.get("/stats", &[])?;
        ensure!(
            answer.status == 200,
            "GET /stats was answered with {}",
            answer.status
        );
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// One number of the counts, by its place such as `/disk/free_bytes`.
    pub(super) fn count(&self, place: &str) -> Result<u64> {
        number(&self.stats()?, place)
    }
}

/// One number of these counts.
pub(super) fn number(stats: &Value, place: &str) -> Result<u64> {
    let count = stats.pointer(place).and_then(Value::as_u64);
    count.with_context(|| format!("no {place} in /stats: {stats}"))
}

/// Checks that an answer is the acknowledgement of an upload.
pub(super) fn acknowledged(name: &str, content: &Content, status: u16, body: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(body);
    ensure!(
        status == 201,
        "PUT {name} was answered with {status}: {text}"
    );
    let said: Listed =
        serde_json::from_slice(body).with_context(|| format!("the answer is {text}"))?;
    let wanted = Listed::of(name, content);
    ensure!(said == wanted, "the queue has {said:?} of {wanted:?}");
    Ok(())
}

/// Uploads on a connection that stays open; returns the answer's status and body.
pub(super) fn put(stream: &mut TcpStream, name: &str, content: &Content) -> Result<(u16, Vec<u8>)> {
    let length = format!("Content-Length: {}", content.bytes());
    let sent = send(stream, name, &length, content, |stream, part| {
        stream.write_all(part)
    });
    answer(stream, sent)
}

/// Deletes on a connection that stays open; returns the answer's status.
pub(super) fn delete(stream: &mut TcpStream, name: &str) -> Result<u16> {
    let head = format!(
        "DELETE /uploads/{name} HTTP/1.1\r\nHost: xenlet.test\r\nAuthorization: {DOWNLOADER}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(read_answer(stream)?.0)
}

fn head(name: &str, field: &str) -> String {
    format!(
        "PUT /uploads/{name} HTTP/1.1\r\nHost: xenlet.test\r\nAuthorization: {UPLOADER}\r\n{field}\r\n\r\n"
    )
}

fn send(
    stream: &mut TcpStream,
    name: &str,
    field: &str,
    content: &Content,
    mut write: impl FnMut(&mut TcpStream, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    stream.write_all(head(name, field).as_bytes())?;
    let mut content = content.clone();
    let mut part = vec![0; 64 * 1024];
    loop {
        let mut filled = 0;
        while let count @ 1.. = content.read(&mut part[filled..])? {
            filled += count;
        }
        if filled == 0 {
            return Ok(());
        }
        write(stream, &part[..filled])?;
    }
}

/// The answer; also if not all could be sent, because the queue refuses before the end.
fn answer(stream: &mut TcpStream, sent: std::io::Result<()>) -> Result<(u16, Vec<u8>)> {
    match (read_answer(stream), sent) {
        (Err(error), Err(cause)) => Err(error.context(format!("sending: {cause}"))),
        (answer, _) => answer,
    }
}
