//! xenstored: a tree of keys, served to the guest over the real wire, and open to the hosted backends as dom0.

use super::platform::SharedPage;
use super::{BackendPort, machine};
use crate::abi::xs_wire::{DomainInterface, Head, PAYLOAD_MAX, RING_SIZE, Type};
use crate::addr::Port;
use crate::page::Window;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ptr::NonNull;

/// The guest's own place in the tree.
pub const HOME: &str = "/local/domain/1";

type Tree = BTreeMap<String, Vec<u8>>;

/// What changes the bytes that the guest is sent: a xenstored that lies.
pub type Mangle = Box<dyn FnMut(&mut Vec<u8>)>;

struct Transaction {
    tree: Tree,
    /// The generation it began at.
    began: u64,
}

struct Xenstored {
    page: NonNull<SharedPage>,
    port: Port,
    end: BackendPort,
    tree: Tree,
    generation: u64,
    transactions: HashMap<u32, Transaction>,
    next_tx: u32,
    /// What the guest watches: path as it said it, whole path, token.
    watches: Vec<(String, String, Vec<u8>)>,
    input: VecDeque<u8>,
    output: VecDeque<u8>,
    mangle: Option<Mangle>,
}

impl Drop for Xenstored {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `start`; the guest's client has been dropped with its thread's state.
        drop(unsafe { Box::from_raw(self.page.as_ptr()) });
    }
}

local! {
    static STORE: RefCell<Option<Xenstored>> = RefCell::new(None);
}

/// Starts xenstored for this thread's domain.
pub(super) fn start() {
    let Some((port, end)) = connect() else { return };
    let page = NonNull::from(Box::leak(Box::new(SharedPage([0; 4096]))));
    let store = Xenstored {
        page,
        port,
        end,
        tree: Tree::new(),
        generation: 0,
        transactions: HashMap::new(),
        next_tx: 1,
        watches: Vec::new(),
        input: VecDeque::new(),
        output: VecDeque::new(),
        mangle: None,
    };
    STORE.with(|s| *s.borrow_mut() = Some(store));
    furnish();
}

/// Begins again for a domain that was restored: another connection, and nothing of the old tree.
pub(super) fn restart() {
    let Some((port, end)) = connect() else { return };
    with(|s| {
        (s.port, s.end) = (port, end);
        s.tree.clear();
        s.generation += 1;
        s.transactions.clear();
        s.next_tx = 1;
        s.watches.clear();
        s.input.clear();
        s.output.clear();
        s.mangle = None;
    });
    furnish();
}

/// An event channel of the guest's for it.
fn connect() -> Option<(Port, BackendPort)> {
    let port = machine(|m| m.events.borrow_mut().alloc())?;
    Some((port, BackendPort::bind(port)?))
}

/// What the toolstack writes for every domain.
fn furnish() {
    write(&format!("{HOME}/control/shutdown"), "");
    write(&format!("{HOME}/domid"), "1");
}

/// The page and the port for the guest.
pub(super) fn interface() -> Option<(Window, Port)> {
    with(|s| {
        (
            Window::new(s.page.cast(), size_of::<DomainInterface>()),
            s.port,
        )
    })
}

fn with<R>(f: impl FnOnce(&mut Xenstored) -> R) -> Option<R> {
    STORE.with(|s| s.borrow_mut().as_mut().map(f))
}

/// Reads a key, as dom0. `path` is whole.
pub fn read(path: &str) -> Option<String> {
    with(|s| {
        s.tree
            .get(path)
            .map(|v| String::from_utf8_lossy(v).into_owned())
    })?
}

/// Writes a key, as dom0, and fires the guest's watches.
pub fn write(path: &str, value: &str) {
    write_bytes(path, value.as_bytes());
}

/// As [`write`](fn@write), any bytes.
pub fn write_bytes(path: &str, value: &[u8]) {
    with(|s| {
        put(&mut s.tree, path, value);
        s.changed(path);
    });
}

/// Removes a key and all below it, as dom0, and fires the guest's watches.
pub fn remove(path: &str) {
    with(|s| {
        prune(&mut s.tree, path);
        s.changed(path);
    });
}

/// The names below a key.
pub fn list(path: &str) -> Vec<String> {
    with(|s| children(&s.tree, path)).unwrap_or_default()
}

/// A number that grows with every change, for a backend to see that something changed.
pub fn generation() -> u64 {
    with(|s| s.generation).unwrap_or(0)
}

/// How many watches the guest has.
pub fn watches() -> usize {
    with(|s| s.watches.len()).unwrap_or(0)
}

/// How many transactions the guest has under way.
pub fn transactions() -> usize {
    with(|s| s.transactions.len()).unwrap_or(0)
}

/// Makes xenstored lie: `mangle` may change each message before it is sent.
pub fn mangle(mangle: Mangle) {
    with(|s| s.mangle = Some(mangle));
}

/// Writes the ring's response producer by hand.
pub fn write_producer(prod: u32) {
    write_page(2060, &prod.to_le_bytes());
}

/// Writes `bytes` anywhere in the page that the guest shares with xenstored, or near its end.
pub fn write_page(at: usize, bytes: &[u8]) {
    with(|s| {
        let window = Window::new(s.page.cast(), size_of::<DomainInterface>());
        window.write(at % (window.len_bytes() - bytes.len()), bytes);
        s.end.notify();
    });
}

/// Serves what the guest asked. True if there was anything.
pub(super) fn serve() -> bool {
    with(|s| s.serve()).unwrap_or(false)
}

fn put(tree: &mut Tree, path: &str, value: &[u8]) {
    // Parents come into being with their children.
    for (i, _) in path.match_indices('/').filter(|(i, _)| *i > 0) {
        tree.entry(path[..i].to_string()).or_default();
    }
    tree.insert(path.to_string(), value.to_vec());
}

fn prune(tree: &mut Tree, path: &str) {
    let below = format!("{path}/");
    tree.retain(|key, _| key != path && !key.starts_with(&below));
}

fn children(tree: &Tree, path: &str) -> Vec<String> {
    let below = format!("{path}/");
    tree.range(below.clone()..)
        .take_while(|(key, _)| key.starts_with(&below))
        .filter_map(|(key, _)| key.get(below.len()..).filter(|name| !name.contains('/')))
        .map(String::from)
        .collect()
}

fn whole(path: &str) -> String {
    if path.starts_with(['/', '@']) {
        path.to_string()
    } else {
        format!("{HOME}/{path}")
    }
}

/// True if `path` is `above` or below it.
fn covers(above: &str, path: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Xenstored {
    /// Notes a change of `path` and queues the events of the watches that cover it, or lie below it.
    fn changed(&mut self, path: &str) {
        self.generation += 1;
        let fired: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, watched, _)| covers(watched, path) || covers(path, watched))
            .map(|(said, watched, token)| {
                let seen = if covers(watched, path) { path } else { watched };
                // A watch on a relative path is told relative paths.
                let seen = if said.starts_with(['/', '@']) {
                    seen
                } else {
                    seen.strip_prefix(HOME)
                        .map_or(seen, |rest| rest.trim_start_matches('/'))
                };
                [seen.as_bytes(), b"\0", token, b"\0"].concat()
            })
            .collect();
        for payload in fired {
            self.send(Type::WatchEvent as u32, 0, 0, &payload);
        }
        self.flush();
    }

    fn send(&mut self, ty: u32, req_id: u32, tx_id: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut message = Head {
            ty,
            req_id,
            tx_id,
            len,
        }
        .emit()
        .to_vec();
        message.extend(payload);
        if let Some(mangle) = self.mangle.as_mut() {
            mangle(&mut message);
        }
        self.output.extend(message);
    }

    fn flush(&mut self) -> bool {
        let window = Window::new(self.page.cast(), size_of::<DomainInterface>());
        let (cons, prod) = (window.load_acquire(2056), window.load_acquire(2060));
        let room = RING_SIZE.saturating_sub(prod.wrapping_sub(cons) as usize);
        let count = room.min(self.output.len());
        for (i, byte) in (0..).zip(self.output.drain(..count)) {
            window.write(
                RING_SIZE + (prod.wrapping_add(i) as usize & (RING_SIZE - 1)),
                &[byte],
            );
        }
        if count > 0 {
            window.store_release(2060, prod.wrapping_add(u32::try_from(count).unwrap_or(0)));
            self.end.notify();
        }
        count > 0
    }

    fn serve(&mut self) -> bool {
        let window = Window::new(self.page.cast(), size_of::<DomainInterface>());
        let (cons, prod) = (window.load_acquire(2048), window.load_acquire(2052));
        let used = prod.wrapping_sub(cons);
        if used as usize > RING_SIZE {
            assert!(
                self.mangle.is_some(),
                "the guest's xenstore index is bogus: {used} bytes"
            );
            self.input.clear();
            window.store_release(2048, prod);
            return true;
        }
        for i in 0..used {
            let mut byte = [0];
            window.read(cons.wrapping_add(i) as usize & (RING_SIZE - 1), &mut byte);
            self.input.extend(byte);
        }
        if used > 0 {
            window.store_release(2048, prod);
            self.end.notify();
        }
        while self.input.len() >= Head::SIZE {
            let mut head = [0; Head::SIZE];
            head.iter_mut()
                .zip(&self.input)
                .for_each(|(place, byte)| *place = *byte);
            let head = Head::parse(&head);
            let len = head.len as usize;
            if len > PAYLOAD_MAX {
                assert!(
                    self.mangle.is_some(),
                    "the guest sent a message of {len} bytes"
                );
                self.input.clear();
                break;
            }
            if self.input.len() < Head::SIZE + len {
                break;
            }
            self.input.drain(..Head::SIZE);
            let payload: Vec<u8> = self.input.drain(..len).collect();
            let (ty, answer, change) = match self.answer(&head, &payload) {
                Ok((answer, change)) => (head.ty, answer, change),
                Err(name) => (
                    Type::Error as u32,
                    [name.as_bytes(), b"\0"].concat(),
                    Vec::new(),
                ),
            };
            self.send(ty, head.req_id, head.tx_id, &answer);
            if ty == Type::Watch as u32 {
                // A watch fires once when it is set, with what was asked for: the payload is `path NUL token NUL`.
                self.send(Type::WatchEvent as u32, 0, 0, &payload);
            }
            for path in change {
                self.changed(&path);
            }
        }
        self.flush() || used > 0
    }

    /// The answer's payload and the paths that changed, or the name of an error.
    fn answer(
        &mut self,
        head: &Head,
        payload: &[u8],
    ) -> Result<(Vec<u8>, Vec<String>), &'static str> {
        let ok = b"OK\0".to_vec();
        let mut parts = payload.split(|b| *b == 0);
        let first = std::str::from_utf8(parts.next().unwrap_or_default()).map_err(|_| "EINVAL")?;
        let path = whole(first);
        if !self.transactions.contains_key(&head.tx_id) && head.tx_id != 0 {
            return Err("ENOENT");
        }
        let tree = match self.transactions.get_mut(&head.tx_id) {
            Some(tx) => &mut tx.tree,
            None => &mut self.tree,
        };
        match Type::from_u32(head.ty).ok_or("ENOSYS")? {
            Type::Read => Ok((tree.get(&path).ok_or("ENOENT")?.clone(), Vec::new())),
            Type::Directory => {
                let names = children(tree, &path);
                if names.is_empty() && !tree.contains_key(&path) {
                    return Err("ENOENT");
                }
                Ok((
                    names
                        .iter()
                        .flat_map(|n| [n.as_bytes(), b"\0"].concat())
                        .collect(),
                    Vec::new(),
                ))
            }
            Type::Write | Type::Mkdir => {
                put(
                    tree,
                    &path,
                    payload.get(first.len() + 1..).unwrap_or_default(),
                );
                Ok((
                    ok,
                    if head.tx_id == 0 {
                        vec![path]
                    } else {
                        Vec::new()
                    },
                ))
            }
            Type::Rm => {
                prune(tree, &path);
                Ok((
                    ok,
                    if head.tx_id == 0 {
                        vec![path]
                    } else {
                        Vec::new()
                    },
                ))
            }
            Type::Watch => {
                let token = parts.next().unwrap_or_default().to_vec();
                self.watches.push((first.to_string(), path, token));
                Ok((ok, Vec::new()))
            }
            Type::Unwatch => {
                let token = parts.next().unwrap_or_default();
                let count = self.watches.len();
                self.watches
                    .retain(|(said, _, t)| said != first || t != token);
                if self.watches.len() < count {
                    Ok((ok, Vec::new()))
                } else {
                    Err("ENOENT")
                }
            }
            Type::TransactionStart => {
                let id = self.next_tx;
                self.next_tx += 1;
                let tx = Transaction {
                    tree: self.tree.clone(),
                    began: self.generation,
                };
                self.transactions.insert(id, tx);
                Ok((format!("{id}\0").into_bytes(), Vec::new()))
            }
            Type::TransactionEnd => {
                let tx = self.transactions.remove(&head.tx_id).ok_or("ENOENT")?;
                if first != "T" {
                    return Ok((ok, Vec::new()));
                }
                if tx.began != self.generation {
                    return Err("EAGAIN");
                }
                let mut changed: Vec<String> = tx
                    .tree
                    .iter()
                    .filter(|(k, v)| self.tree.get(*k) != Some(v))
                    .map(|(k, _)| k.clone())
                    .collect();
                changed.extend(
                    self.tree
                        .keys()
                        .filter(|k| !tx.tree.contains_key(*k))
                        .cloned(),
                );
                self.tree = tx.tree;
                Ok((ok, changed))
            }
            Type::WatchEvent | Type::Error => Err("EINVAL"),
        }
    }
}
