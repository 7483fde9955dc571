//! Picks programs, libraries and kernel modules out of unpacked Debian packages.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cpio::{self, Entry, Tree};
use super::elf;

/// Folders where Debian keeps programs.
const PROGRAM_FOLDERS: [&str; 4] = ["bin", "sbin", "usr/bin", "usr/sbin"];
/// Folders where Debian keeps libraries. The last one is in the search path of the libraries that need it.
const LIBRARY_FOLDERS: [&str; 3] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/ceph",
];

/// A tree that grows, and the packages it grows from. In it `/bin`, `/sbin` and `/lib` are links into `/usr`, as on an
/// installed Debian; packages of this release still name both.
pub(crate) struct Gather<'r> {
    root: &'r Path,
    pub(crate) tree: Tree,
}

impl<'r> Gather<'r> {
    pub(crate) fn new(root: &'r Path) -> Self {
        Self {
            root,
            tree: Tree::new(),
        }
    }

    /// Adds something made here.
    pub(crate) fn add(&mut self, name: &str, entry: Entry) {
        cpio::insert(&mut self.tree, name, entry);
    }

    /// Adds a folder and all in it.
    ///
    /// # Errors
    /// If it can't be read.
    pub(crate) fn folder(&mut self, folder: &str) -> Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let name = format!("{folder}/{}", entry?.file_name().to_string_lossy());
            let path = resolve(self.root, &self.root.join(&name))?;
            if path.is_dir() {
                self.folder(&name)?;
            } else {
                let bytes = fs::read(path)?;
                self.add(
                    &name,
                    Entry::File {
                        executable: bytes.starts_with(b"#!"),
                        bytes,
                    },
                );
            }
        }
        Ok(())
    }

    /// Adds a program and its libraries. Xen's own folder of tools comes first: elsewhere they are wrappers.
    ///
    /// # Errors
    /// If it or a library is not in the packages.
    pub(crate) fn program(&mut self, name: &str) -> Result<()> {
        let tools = only_match(&self.root.join("usr/lib"), "xen-4", "");
        let tools = tools.map(|folder| folder.join("bin"));
        let others = PROGRAM_FOLDERS.iter().map(|folder| self.root.join(folder));
        let mut candidates = tools
            .into_iter()
            .chain(others)
            .map(|folder| folder.join(name));
        let path = candidates.find(|path| is_there(path));
        let path = path.with_context(|| format!("no program `{name}` in the packages"))?;
        let bytes = fs::read(resolve(self.root, &path)?)?;
        self.libraries(&bytes)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let inside = merged(&path.strip_prefix(self.root)?.to_string_lossy());
        self.add(
            &inside,
            Entry::File {
                executable: true,
                bytes,
            },
        );
        Ok(())
    }

    fn libraries(&mut self, bytes: &[u8]) -> Result<()> {
        for name in elf::needs(bytes)? {
            // An interpreter is named by its path, a library by its name alone.
            let candidates = match name.strip_prefix('/') {
                Some(path) => vec![path.to_owned()],
                None => LIBRARY_FOLDERS
                    .map(|folder| format!("{folder}/{name}"))
                    .to_vec(),
            };
            let found = candidates
                .iter()
                .find(|inside| is_there(&self.root.join(inside)));
            let found = found.with_context(|| format!("no library {name} in the packages"))?;
            let inside = merged(found);
            if !self.tree.contains_key(&inside) {
                let bytes = fs::read(resolve(self.root, &self.root.join(found))?)?;
                self.add(
                    &inside,
                    Entry::File {
                        executable: true,
                        bytes: bytes.clone(),
                    },
                );
                self.libraries(&bytes)?;
            }
        }
        Ok(())
    }

    /// Adds kernel modules and those they need as `usr/lib/modules/<name>.ko`; returns all names, in an order in which
    /// they load.
    ///
    /// # Errors
    /// If one is neither in the packages nor built into the kernel.
    pub(crate) fn modules<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<String>> {
        let folder = only_match(&self.root.join("lib/modules"), "", "-amd64")?;
        let mut available = Available {
            files: Vec::new(),
            built_in: fs::read_to_string(folder.join("modules.builtin"))?,
            seen: HashSet::new(),
        };
        find_modules(&folder.join("kernel"), &mut available.files)?;
        let mut order = Vec::new();
        for name in names {
            self.module(name, &mut available, &mut order)?;
        }
        Ok(order)
    }

    fn module(
        &mut self,
        name: &str,
        available: &mut Available,
        order: &mut Vec<String>,
    ) -> Result<()> {
        let name = canonical(name);
        if !available.seen.insert(name.clone()) {
            return Ok(());
        }
        let is_it = |path: &Path| {
            path.file_stem()
                .is_some_and(|stem| canonical(&stem.to_string_lossy()) == name)
        };
        let Some(path) = available.files.iter().find(|path| is_it(path)) else {
            if available
                .built_in
                .lines()
                .any(|line| is_it(Path::new(line)))
            {
                return Ok(());
            }
            bail!("no kernel module `{name}` in the packages");
        };
        let bytes = fs::read(path)?;
        let needs =
            elf::module_needs(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
        for needed in needs {
            self.module(&needed, available, order)?;
        }
        self.add(
            &format!("usr/lib/modules/{name}.ko"),
            Entry::File {
                executable: false,
                bytes,
            },
        );
        order.push(name);
        Ok(())
    }
}

/// The kernel's modules, and those looked at already.
struct Available {
    files: Vec<PathBuf>,
    /// `modules.builtin`: one path a line.
    built_in: String,
    seen: HashSet<String>,
}

/// To the kernel, `-` and `_` in a module's name are one.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn find_modules(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_modules(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            files.push(path);
        }
    }
    Ok(())
}

/// Where a file of the packages is once `/bin` and the like are links into `/usr`.
fn merged(inside: &str) -> String {
    match inside.split('/').next().unwrap_or_default() {
        "bin" | "sbin" | "lib" | "lib64" => format!("usr/{inside}"),
        _ => inside.to_owned(),
    }
}

/// A link is there even if it leads, as seen from this machine, nowhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Follows links as if `root` were the root of the file system.
fn resolve(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..16 {
        let Ok(to) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = if to.is_absolute() {
            let inside = to.components().filter(|part| *part != Component::RootDir);
            root.join(inside.collect::<PathBuf>())
        } else {
            path.parent().unwrap_or(root).join(to)
        };
    }
    bail!("{} is a link that leads nowhere", path.display())
}

/// The entry of a folder whose name begins and ends so; the last in order where there are several.
///
/// # Errors
/// If there is none.
pub(crate) fn only_match(folder: &Path, start: &str, end: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(start) && name.ends_with(end)
    };
    let found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(matches)
        .max();
    found.with_context(|| format!("no {start}*{end} in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_merged_into_usr() {
        assert_eq!(
            merged("lib/x86_64-linux-gnu/libc.so.6"),
            "usr/lib/x86_64-linux-gnu/libc.so.6"
        );
        assert_eq!(
            merged("lib64/ld-linux-x86-64.so.2"),
            "usr/lib64/ld-linux-x86-64.so.2"
        );
        assert_eq!(merged("usr/bin/curl"), "usr/bin/curl");
        assert_eq!(merged("library/x"), "library/x");
    }
}
