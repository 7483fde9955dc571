//! The clients of `cargo xtask bench` whose handshakes are counted, for the target `unix`: small enough that the server's work is most of it.
//!
//! `handshakes address=ADDRESS:443 path=/4k.html content=FILE ca=FILE clients=16 seconds=2` has so many clients ask for a page by HTTPS, each time on
//! a new connection, whose handshake verifies the server's certificate. With `resume` a client resumes the session of its connection before, by the
//! ticket that it was given. Prints how many there were a second. The first answer that is not the file's content, the first handshake that was
//! resumed and should not be, or the other way round, and the first connection that does not end as TLS does, end it with an error.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(xenlet = "unix"),
    allow(unused, reason = "there is no dom0 to run in")
)]

#[cfg(not(xenlet = "unix"))]
fn main() {}

#[cfg(xenlet = "unix")]
xenlet_kernel::main!(clients::run);

#[cfg(xenlet = "unix")]
mod clients {
    //! What they do.

    use embedded_io_async::{Read, Write};
    use std::fmt::Display;
    use std::net::SocketAddr;
    use std::rc::Rc;
    use xenlet_kernel::cmdline;
    use xenlet_kernel::run::spawn;
    use xenlet_kernel::time::{Duration, Instant, now};
    use xenlet_net::TcpStream;
    use xenlet_tls::{Roots, TlsConnector, Versions};

    /// The name in the server's certificate.
    const NAME: &str = "guest";

    pub(super) async fn run() -> Result<(), String> {
        let count: u32 = number("clients")?;
        let time = Duration::from_secs(number("seconds")?);
        let page = Rc::new(Page::of_command_line()?);
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = Client::new(&page)?;
            if page.resume {
                // Without a ticket there is nothing to resume.
                client.ask(false).await?;
            }
            clients.push(client);
        }
        let began = now();
        let work = clients
            .into_iter()
            .map(|client| spawn(client.work(began, time)));
        let mut handshakes = 0;
        for client in work.collect::<Vec<_>>() {
            handshakes += client.await?;
        }
        let rate = f64::from(handshakes) / began.elapsed().as_secs_f64();
        println!("Handshakes/sec: {rate:.2}");
        Ok(())
    }

    /// What is asked for, and of whom.
    struct Page {
        address: SocketAddr,
        roots: Roots,
        request: String,
        /// What the answer must be.
        content: Vec<u8>,
        resume: bool,
    }

    impl Page {
        fn of_command_line() -> Result<Self, String> {
            let path = word("path")?;
            Ok(Self {
                address: number("address")?,
                roots: Roots::from_pem(&file("ca")?).map_err(text)?,
                request: format!(
                    "GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
                ),
                content: file("content")?,
                resume: cmdline::get("resume").is_some(),
            })
        }
    }

    struct Client {
        page: Rc<Page>,
        connector: TlsConnector,
        /// Answers, one after the other.
        answer: Vec<u8>,
    }

    impl Client {
        fn new(page: &Rc<Page>) -> Result<Self, String> {
            Ok(Self {
                connector: connector(page)?,
                // A head is short.
                answer: vec![0; page.content.len() + 4096],
                page: Rc::clone(page),
            })
        }

        /// Asks until the time is over; says how often.
        async fn work(mut self, began: Instant, time: Duration) -> Result<u32, String> {
            let mut count = 0;
            while began.elapsed() < time {
                if !self.page.resume {
                    // One that knows of no session.
                    self.connector = connector(&self.page)?;
                }
                self.ask(self.page.resume).await?;
                count += 1;
            }
            Ok(count)
        }

        async fn ask(&mut self, resumed: bool) -> Result<(), String> {
            let page = &*self.page;
            let stream = TcpStream::connect(page.address).await.map_err(text)?;
            let mut stream = self.connector.connect(NAME, stream).await.map_err(text)?;
            if stream.is_resumed() != resumed {
                return Err(format!("a session was resumed: {}", !resumed));
            }
            stream
                .write_all(page.request.as_bytes())
                .await
                .map_err(text)?;
            stream.flush().await.map_err(text)?;
            let mut length = 0;
            loop {
                let room = &mut self.answer[length..];
                if room.is_empty() {
                    return Err("an answer is longer than it should be".into());
                }
                // An end that was not announced is an error.
                match stream.read(room).await.map_err(text)? {
                    0 => break,
                    count => length += count,
                }
            }
            stream.close().await.map_err(text)?;
            let answer = &self.answer[..length];
            let head = answer.strip_suffix(page.content.as_slice());
            if !head.is_some_and(|head| {
                head.starts_with(b"HTTP/1.1 200 ") && head.ends_with(b"\r\n\r\n")
            }) {
                let begin = String::from_utf8_lossy(&answer[..length.min(300)]);
                return Err(format!("a wrong answer of {length} bytes: {begin}"));
            }
            Ok(())
        }
    }

    fn connector(page: &Page) -> Result<TlsConnector, String> {
        TlsConnector::new(&page.roots, &["http/1.1"], Versions::Tls13).map_err(text)
    }

    fn word(key: &str) -> Result<&'static str, String> {
        cmdline::get(key).ok_or_else(|| format!("{key}= is missing"))
    }

    fn number<T: std::str::FromStr>(key: &str) -> Result<T, String> {
        word(key)?;
        cmdline::parse(key)?.ok_or_else(|| format!("{key}= is missing"))
    }

    fn file(key: &str) -> Result<Vec<u8>, String> {
        let name = word(key)?;
        std::fs::read(name).map_err(|e| format!("{name}: {e}"))
    }

    fn text(error: impl Display) -> String {
        error.to_string()
    }
}
