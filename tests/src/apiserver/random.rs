//! Randomness: serial numbers, identities, and the ends of generated names.

use anyhow::{Result, anyhow};

/// Random bytes from the machine.
///
/// # Errors
/// When the machine has none, which no machine that runs tests should.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| anyhow!("the machine has no randomness"))?;
    Ok(bytes)
}

/// A random UUID (version 4).
pub(super) fn uuid() -> Result<String> {
    let mut bytes: [u8; 16] = random()?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| hex.get(range).unwrap_or_default();
    Ok([part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"))
}

/// Five letters to end a `generateName`. Kubernetes leaves out vowels and what is mistaken for them, so that no word
/// comes of it.
pub(super) fn name_end() -> Result<String> {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes: [u8; 5] = random()?;
    let letter = |byte: &u8| letters.get(usize::from(*byte) % letters.len()).copied();
    Ok(bytes.iter().filter_map(letter).map(char::from).collect())
}
