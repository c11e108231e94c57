//! Gossip's encryption: AES-GCM with a ring of keys, of which the first seals and all open.
//!
//! Between the sockets and everything else: `driver` seals and opens packets, `tcp` streams.
//! What does not open is dropped and counted; it never reaches the state machine.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes192;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce};
use arc_swap::ArcSwap;
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::swim::codec::kind;
use crate::swim::stream::STREAM_BYTES_MAX;

/// What sealing adds to a packet: version, nonce, tag.
pub(super) const SEAL_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The type byte and the length before a sealed stream.
const STREAM_HEAD_BYTES: usize = 5;
/// Without padding; 0 is the old form with.
const VERSION: u8 = 1;
const VERSION_PADDED: u8 = 0;
/// Keys in a ring, at most: each is tried on every packet that no other opens.
pub const KEYS_MAX: usize = 16;

/// A key as operators write it: 16, 24 or 32 bytes in base64.
#[derive(Clone)]
pub struct Key {
    bytes: Vec<u8>,
    cipher: Cipher,
}

#[derive(Clone)]
enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key is a secret: logs and panics must not show it.
        write!(f, "Key({} bytes)", self.bytes.len())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key size must be 16, 24 or 32 bytes")]
pub struct KeySizeError;

impl Key {
    pub fn new(bytes: &[u8]) -> Result<Self, KeySizeError> {
        let cipher = match bytes.len() {
            16 => Aes128Gcm::new_from_slice(bytes).map(|aes| Cipher::Aes128(Box::new(aes))),
            24 => AesGcm::new_from_slice(bytes).map(|aes| Cipher::Aes192(Box::new(aes))),
            32 => Aes256Gcm::new_from_slice(bytes).map(|aes| Cipher::Aes256(Box::new(aes))),
            _ => return Err(KeySizeError),
        };
        Ok(Self { bytes: bytes.to_vec(), cipher: cipher.map_err(|_| KeySizeError)? })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn encrypt(&self, nonce: &[u8; NONCE_BYTES], plain: &[u8], additional: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: plain, aad: additional };
        let nonce = Nonce::from_slice(nonce);
        match &self.cipher {
            Cipher::Aes128(aes) => aes.encrypt(nonce, payload),
            Cipher::Aes192(aes) => aes.encrypt(nonce, payload),
            Cipher::Aes256(aes) => aes.encrypt(nonce, payload),
        }
        .ok()
    }

    fn decrypt(&self, nonce: &[u8], sealed: &[u8], additional: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: sealed, aad: additional };
        let nonce = Nonce::from_slice(nonce);
        match &self.cipher {
            Cipher::Aes128(aes) => aes.decrypt(nonce, payload),
            Cipher::Aes192(aes) => aes.decrypt(nonce, payload),
            Cipher::Aes256(aes) => aes.decrypt(nonce, payload),
        }
        .ok()
    }
}

/// Why bytes did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Seals and opens for one pool; without keys it passes bytes through.
#[derive(Debug)]
pub struct Seal {
    ring: ArcSwap<Vec<Key>>,
    verify_incoming: bool,
    verify_outgoing: bool,
    refused: AtomicU64,
}

impl Seal {
    /// The first key is the one that seals. `verify_*` are Consul's `encrypt_verify_*`: false while a
    /// pool moves to encryption, so that plain bytes still pass.
    pub fn new(keys: Vec<Key>, verify_incoming: bool, verify_outgoing: bool) -> Arc<Self> {
        let ring = ArcSwap::from_pointee(keys);
        Arc::new(Self { ring, verify_incoming, verify_outgoing, refused: AtomicU64::new(0) })
    }

    pub fn is_on(&self) -> bool {
        !self.ring.load().is_empty()
    }

    /// The first is the one that seals.
    pub fn keys(&self) -> Arc<Vec<Key>> {
        self.ring.load_full()
    }

    /// Other keys from now on; none stay none, and some stay some, so that a pool never changes in midst.
    pub(super) fn replace(&self, keys: Vec<Key>) {
        if !keys.is_empty() && self.is_on() {
            self.ring.store(Arc::new(keys));
        }
    }

    /// Packets and streams that did not open.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn seal_packet(&self, plain: Vec<u8>) -> Vec<u8> {
        if !self.verify_outgoing {
            return plain;
        }
        let ring = self.ring.load();
        match ring.first() {
            None => plain,
            // Nothing rather than plain bytes, should the kernel have no random ones.
            Some(key) => sealed(key, &plain, &[]).unwrap_or_default(),
        }
    }

    pub fn open_packet(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let ring = self.ring.load();
        if ring.is_empty() {
            return Ok(None);
        }
        match opened(&ring, bytes, &[]) {
            Some(plain) => Ok(Some(plain)),
            None if self.verify_incoming => Err(self.refuse()),
            None => Ok(None),
        }
    }

    pub fn seal_stream(&self, plain: Vec<u8>) -> Vec<u8> {
        let ring = self.ring.load();
        let key = match ring.first() {
            Some(key) if self.verify_outgoing && !plain.is_empty() => key,
            _ => return plain,
        };
        let length = u32::try_from(plain.len() + SEAL_BYTES).unwrap_or(u32::MAX).to_be_bytes();
        let mut out = vec![kind::ENCRYPT];
        out.extend(length);
        let body = sealed(key, &plain, &out).unwrap_or_default();
        out.extend(body);
        out
    }

    /// A stream's whole message as it came: plain, or nothing that we take.
    pub fn open_stream(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Refused> {
        let ring = self.ring.load();
        let is_sealed = bytes.first() == Some(&kind::ENCRYPT);
        if !is_sealed {
            let is_wanted = ring.is_empty() || !self.verify_incoming;
            return if is_wanted { Ok(bytes) } else { Err(self.refuse()) };
        }
        let (head, body) = bytes.split_at_checked(STREAM_HEAD_BYTES).ok_or(Refused)?;
        if body.len() > STREAM_BYTES_MAX {
            return Err(self.refuse());
        }
        opened(&ring, body, head).ok_or_else(|| self.refuse())
    }

    fn refuse(&self) -> Refused {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Refused
    }
}

fn sealed(key: &Key, plain: &[u8], additional: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    OsRng.try_fill_bytes(&mut nonce).ok()?;
    let body = key.encrypt(&nonce, plain, additional)?;
    let mut out = Vec::with_capacity(1 + NONCE_BYTES + body.len());
    out.push(VERSION);
    out.extend(nonce);
    out.extend(body);
    Some(out)
}

fn opened(ring: &[Key], bytes: &[u8], additional: &[u8]) -> Option<Vec<u8>> {
    let (&version, rest) = bytes.split_first()?;
    let (nonce, body) = rest.split_at_checked(NONCE_BYTES)?;
    if version > VERSION || body.len() < TAG_BYTES {
        return None;
    }
    let mut plain = ring.iter().find_map(|key| key.decrypt(nonce, body, additional))?;
    if version == VERSION_PADDED {
        let padding = usize::from(*plain.last()?);
        let length = plain.len().checked_sub(padding).filter(|_| (1..=16).contains(&padding))?;
        plain.truncate(length);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(keys: &[&[u8]], verify: bool) -> Arc<Seal> {
        Seal::new(keys.iter().map(|key| Key::new(key).expect("a key's size")).collect(), verify, true)
    }

    #[test]
    fn what_one_seals_the_other_opens_with_any_key_of_its_ring() {
        for size in [16, 24, 32] {
            let (ours, theirs) = (vec![7; size], vec![9; size]);
            let sender = seal(&[&ours], true);
            let receiver = seal(&[&theirs, &ours], true);
            let packet = sender.seal_packet(b"hello".to_vec());
            assert_eq!(packet.len(), 5 + SEAL_BYTES);
            assert_eq!(receiver.open_packet(&packet), Ok(Some(b"hello".to_vec())));
            let stream = sender.seal_stream(b"state".to_vec());
            assert_eq!(receiver.open_stream(stream), Ok(b"state".to_vec()));
        }
    }

    #[test]
    fn what_is_plain_foreign_or_changed_is_refused_and_counted() {
        let receiver = seal(&[&[1; 16]], true);
        assert_eq!(receiver.open_packet(b"plain"), Err(Refused));
        assert_eq!(receiver.open_stream(b"plain".to_vec()), Err(Refused));
        let foreign = seal(&[&[2; 16]], true);
        assert_eq!(receiver.open_packet(&foreign.seal_packet(b"x".to_vec())), Err(Refused));
        let own = seal(&[&[1; 16]], true);
        let whole = own.seal_packet(b"x".to_vec());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_ne!(receiver.open_packet(&changed), Ok(Some(b"x".to_vec())), "byte {at}");
        }
        let mut stream = own.seal_stream(b"x".to_vec());
        stream[4] ^= 1;
        assert_eq!(receiver.open_stream(stream), Err(Refused), "its length is sealed too");
        assert!(receiver.refused() >= 4);
    }

    #[test]
    fn while_a_pool_moves_to_encryption_plain_bytes_pass() {
        let moving = seal(&[&[1; 16]], false);
        assert_eq!(moving.open_packet(b"plain"), Ok(None));
        assert_eq!(moving.open_stream(b"plain".to_vec()), Ok(b"plain".to_vec()));
    }

    #[test]
    fn a_key_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", Key::new(&[42; 16])), "Ok(Key(16 bytes))");
        assert_eq!(Key::new(&[0; 17]), Err(KeySizeError));
    }
}
