//! Randomness for secrets: the processor's RDSEED or RDRAND on Xen, the host's elsewhere.

/// There is no source of randomness that a secret could be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntropy;

impl core::fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(
            "no entropy: this processor offers the guest neither RDSEED nor RDRAND; nothing that needs a secret can start",
        )
    }
}

impl core::error::Error for NoEntropy {}

/// Fills `bytes` with randomness fit for keys.
///
/// # Errors
/// When there is no source. Whoever needs a secret must not start then; there is no weaker substitute here.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoEntropy> {
    for chunk in bytes.chunks_mut(8) {
        let word = crate::platform::random().ok_or(NoEntropy)?.to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    Ok(())
}

/// A number that differs from boot to boot and is hard to guess where there is entropy; elsewhere it is made of the
/// clocks. For initial sequence numbers, ports and hash keys; never for secrets.
pub fn seed() -> u64 {
    crate::platform::random().unwrap_or_else(|| {
        let wall = crate::time::wall().map_or(0, |wall| wall.as_nanos());
        #[allow(
            clippy::cast_possible_truncation,
            reason = "only the low bits differ from boot to boot"
        )]
        let mixed = (wall as u64) ^ crate::time::now().as_nanos().rotate_left(32);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}
