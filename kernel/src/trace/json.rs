//! A trace as a file: JSON of Chrome's trace event format, which Perfetto opens, and other viewers too.
//!
//! The guest is process 1; its threads are the loop, as number 1, and the tasks. Each device is a process of its own, from 2 on, with
//! asynchronous events, because its requests overlap. An arrow goes from the task that ran to the one that it woke.

use super::slices::{Cause, LOOP, Slice, Trace, Waits, What};
use super::span::Device;
use core::fmt::{self, Display, Formatter, Write};

/// The process of the guest; the devices' follow.
const GUEST: u32 = 1;

impl Trace {
    /// The file, in pieces: each is less than 1 KiB long, but for the first, which has a line for each device there ever was.
    pub fn json(&self) -> impl Iterator<Item = Json<'_>> {
        let slices = self.slices.iter().enumerate();
        let slices = slices.map(|(number, slice)| Part::Slice(number, slice));
        let parts = [Part::Head].into_iter().chain(slices).chain([Part::Tail]);
        parts.map(|part| Json { trace: self, part })
    }
}

/// A piece of the file, to be written.
#[derive(Debug)]
pub struct Json<'t> {
    trace: &'t Trace,
    part: Part<'t>,
}

#[derive(Debug)]
enum Part<'t> {
    Head,
    Slice(usize, &'t Slice),
    Tail,
}

impl Display for Json<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Head => head(f),
            Part::Slice(number, slice) => self.slice(f, number, slice),
            Part::Tail => self.tail(f),
        }
    }
}

fn head(f: &mut Formatter<'_>) -> fmt::Result {
    // The one event without a comma before it.
    f.write_str(r#"{"displayTimeUnit":"ms","traceEvents":[{"ph":"M","pid":1,"tid":1,"name":"process_name","args":{"name":"guest"}}"#)?;
    Row::LOOP.is_called(f, "thread_name", "loop")?;
    Device::each(|number, name| Row::device(number).is_called(f, "process_name", name))
}

impl Json<'_> {
    fn slice(&self, f: &mut Formatter<'_>, number: usize, slice: &Slice) -> fmt::Result {
        let times = self.trace.times(slice).map(Micros::new);
        let event = Event {
            row: Row(GUEST, slice.row),
            times,
            ended: slice.has_ended(),
        };
        let on_loop = Event {
            row: Row::LOOP,
            ..event
        };
        match slice.what {
            What::Task(name) => event.row.is_called(f, "thread_name", Short(name)),
            // What takes no time can't be seen.
            What::Run(_) | What::Sleep | What::Wait(_) | What::Ready(_) if times[0] == times[1] => {
                Ok(())
            }
            What::Run(name) => on_loop.lasts(f, Short(name), format_args!("task {}", slice.row)),
            What::Sleep => on_loop.lasts(f, "sleep", ""),
            What::Wait(waits) => event.lasts(f, Waiting(waits), ""),
            What::Ready(cause) => {
                event.lasts(f, "ready", format_args!("woken by {cause}"))?;
                if let Cause::Task(waker, _) = cause
                    && waker != slice.row
                {
                    on_loop.line(
                        f,
                        "s",
                        "wakes",
                        format_args!(r#""cat":"wakes","id":{number}"#),
                    )?;
                    event.line(
                        f,
                        "f",
                        "wakes",
                        format_args!(r#""cat":"wakes","id":{number},"bp":"e""#),
                    )?;
                }
                Ok(())
            }
            What::Span(name, text, _) => match self.trace.text(text) {
                "" => event.lasts(f, name, ""),
                text => event.lasts(f, format_args!("{name}: {text}"), ""),
            },
            What::Device(name, text) => {
                let row = Row::device(slice.row);
                let event = Event { row, ..event };
                event.overlaps(f, number, name, self.trace.text(text))
            }
        }
    }

    fn tail(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(full) = self.trace.full_at() {
            let event = Event {
                row: Row::LOOP,
                times: [Micros::new(full); 2],
                ended: true,
            };
            let lost = self.trace.lost;
            let name = format_args!("no more room: {lost} slices from here on are missing");
            event.line(f, "i", name, format_args!(r#""s":"g""#))?;
        }
        f.write_str("\n]}\n")
    }
}

/// A row: its process and its thread.
#[derive(Clone, Copy)]
struct Row(u32, u32);

impl Row {
    const LOOP: Self = Self(GUEST, LOOP);

    /// That of a device, which is a process.
    fn device(number: u32) -> Self {
        let process = number.saturating_add(GUEST + 1);
        Self(process, process)
    }

    fn is_called(self, f: &mut Formatter<'_>, what: &str, name: impl Display) -> fmt::Result {
        let (Self(process, thread), name) = (self, Quoted(name));
        write!(
            f,
            ",\n{{\"ph\":\"M\",\"pid\":{process},\"tid\":{thread},\"name\":\"{what}\",\"args\":{{\"name\":{name}}}}}"
        )
    }
}

/// What is shown of a slice.
#[derive(Clone, Copy)]
struct Event {
    row: Row,
    /// When it began and ended.
    times: [Micros; 2],
    ended: bool,
}

impl Event {
    /// One event, at its beginning, with what else there is to it.
    fn line(
        &self,
        f: &mut Formatter<'_>,
        phase: &str,
        name: impl Display,
        rest: impl Display,
    ) -> fmt::Result {
        let (Row(process, thread), [at, _], name) = (self.row, self.times, Quoted(name));
        write!(
            f,
            ",\n{{\"ph\":\"{phase}\",\"pid\":{process},\"tid\":{thread},\"ts\":{at},\"name\":{name},{rest}}}"
        )
    }

    /// A slice on its row, within or beside all others.
    fn lasts(&self, f: &mut Formatter<'_>, name: impl Display, about: impl Display) -> fmt::Result {
        let ([at, to], about, ended) = (self.times, Quoted(about), self.ended);
        let dur = Micros(to.0.saturating_sub(at.0));
        self.line(
            f,
            "X",
            name,
            format_args!(r#""dur":{dur},"args":{{"about":{about},"ended":{ended}}}"#),
        )
    }

    /// A slice that others may overlap, by its number.
    fn overlaps(&self, f: &mut Formatter<'_>, id: usize, name: &str, about: &str) -> fmt::Result {
        let id = format_args!(r#""cat":"device","id2":{{"local":"{id}"}}"#);
        let (about, ended) = (Quoted(about), self.ended);
        let args = format_args!(r#"{id},"args":{{"about":{about},"ended":{ended}}}"#);
        self.line(f, "b", name, args)?;
        let end = Self {
            times: [self.times[1]; 2],
            ..*self
        };
        end.line(f, "e", name, id)
    }
}

/// A time in microseconds, by eighths of one: these are exact in a reader's floating point numbers, so that slices which touch don't overlap.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Micros(u64);

impl Micros {
    const fn new(ns: u64) -> Self {
        Self(ns / 125)
    }
}

impl Display for Micros {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 8, self.0 % 8 * 125)
    }
}

/// The name of a task, if it has none but its future's type: the function's, without what is repeated and what it is generic over.
pub(super) struct Short(pub(super) &'static str);

impl Display for Short {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.0.split(['<', '{']).next().unwrap_or_default();
        let name = name.trim_end_matches(':');
        f.write_str(name.strip_prefix("xenlet_").unwrap_or(name))
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("something outside"),
            #[cfg(not(xenlet = "unix"))]
            Self::Event(port) => write!(f, "an event on channel {}", port.0),
            Self::Timer => f.write_str("a timer"),
            Self::Task(number, name) => write!(f, "{} (task {number})", Short(name)),
        }
    }
}

struct Waiting(Waits);

impl Display for Waiting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            [Some(one), Some(other)] => {
                write!(f, "waiting for {} or {}", Short(one), Short(other))
            }
            [Some(one), None] => write!(f, "waiting for {}", Short(one)),
            _ => f.write_str("waiting"),
        }
    }
}

/// A string of JSON.
struct Quoted<D>(D);

impl<D: Display> Display for Quoted<D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Escape(f), "{}", self.0)?;
        f.write_char('"')
    }
}

struct Escape<'f, 'b>(&'f mut Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.0, "\\{c}")?,
                c if c.is_control() => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}
