//! File systems of which any numbers may be anything: two small ones, made by mkfs without checksums, and changes to them.

use xenlet_blkfront::hosted::{Faults, Medium};
use xenlet_kernel::hosted;
use xenlet_storage::files::{Entry, Error, Files};

/// One with extents and an indexed folder, and one with block lists.
const IMAGES: [&[u8]; 2] = [
    include_bytes!("../data/ext4.img"),
    include_bytes!("../data/ext2.img"),
];

/// What is in them, by the ways that paths can go.
const PATHS: [&str; 9] = [
    "/",
    "/many",
    "/link",
    "/far",
    "/empty",
    "/folder/deep/index.html",
    "/folder/deep/..",
    "/folder/23-nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
    "/folder/none",
];
const CACHE: usize = 32 << 10;

/// Changes a file system as `data` says, and reads what there is. Of `data`, the first byte says which; every six bytes after it are one
/// change: where (of the places where there is anything), how wide, and what is there then.
///
/// # Panics
/// If reading does, does not come to an end, or takes more memory than it may.
pub(crate) fn ext4(data: &[u8]) {
    let (which, changes) = data.split_first().unwrap_or((&0, &[]));
    let mut image = IMAGES[usize::from(which % 2)].to_vec();
    let used: Vec<usize> = (0..image.len() / 4)
        .filter(|at| image[at * 4..][..4] != [0; 4])
        .collect();
    for change in changes.chunks_exact(6) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = used[at % used.len()] * 4;
        let value = [change[2], change[3], change[4], change[5]];
        let place = &mut image[at..at + 4];
        match value[3] % 4 {
            0 => place.copy_from_slice(&value),
            1 => place[..2].copy_from_slice(&value[..2]),
            2 => place[2..].copy_from_slice(&value[..2]),
            _ => place[usize::from(value[1] % 4)] = value[0],
        }
    }
    let medium = Medium::from_bytes(&image);
    hosted::test(async move || {
        let disk = medium.disk(Faults::default());
        let Ok(files) = Files::mount(disk, CACHE).await else {
            return;
        };
        for path in PATHS {
            // An error says what is wrong; there is nothing to be done about it.
            let _ = read(&files, path).await;
            let (used, limit) = files.cache_usage();
            assert!(used <= limit, "{used} bytes of {limit}");
        }
    });
}

async fn read<D: xenlet_storage::BlockDevice>(files: &Files<D>, path: &str) -> Result<(), Error> {
    let Entry::File(file) = files.open(path).await? else {
        return Ok(());
    };
    let mut bytes = vec![0; 40_000];
    let count = file.read_at(0, &mut bytes).await?;
    assert!(count <= bytes.len());
    let len = file.len();
    for offset in [len.saturating_sub(1), len / 2, 1 << 32, 1 << 44, u64::MAX] {
        file.chunk(offset, u64::MAX).await?;
    }
    Ok(())
}
