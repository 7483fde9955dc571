//! What may not be in an image: objects of this machine's C library, whose system calls would be hypercalls there. The linker's
//! map says where everything is from.

use anyhow::{Result, bail};

/// Checks that all of an image is of crates.
///
/// # Errors
/// The first object that is not, and its first symbol.
pub(crate) fn refuse(map: &str) -> Result<()> {
    let mut lines = map.lines();
    let Some(object) = lines.find_map(object) else {
        return Ok(());
    };
    // Below an object's section are its symbols, each with its name at the end.
    let symbol = lines.next().and_then(|line| line.split_whitespace().last());
    bail!(
        "{object} of this machine was linked, for `{}`: on Xen there is no C library; find the dependency that wants it \
         (cargo tree), and what turns it off",
        symbol.unwrap_or("a symbol without a name")
    )
}

/// The member of an archive that a line of the map names: crates are in `.rlib`s, and system libraries in `.a`s.
fn object(line: &str) -> Option<&str> {
    let (archive, member) = line.split_once(".a(")?;
    let begin = archive.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let end = archive.len() + ".a(".len() + member.find(')')? + 1;
    line.get(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_system_libraries_are_named_with_their_symbol() {
        let map = "     VMA      LMA     Size Align Out     In      Symbol
  d00000   d00000       4c    16         /t/deps/libring-1.rlib(1.o):(.text.f)
  d00000   d00000       4c     1                 f
  d00050   d00050       2c    16         /usr/lib/libc.a(syscall.o):(.text)
  d00050   d00050       2c     1                 syscall
";
        let error = refuse(map).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "/usr/lib/libc.a(syscall.o) of this machine was linked, for `syscall`"
            ),
            "{error}"
        );
        let own: Vec<&str> = map.lines().take(3).collect();
        assert!(refuse(&own.join("\n")).is_ok());
    }
}
