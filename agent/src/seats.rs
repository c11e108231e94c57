//! How many connections one address may hold, so that one stranger cannot take everybody's place.
//! Every listener that strangers reach asks here before it serves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many connections each address has.
#[derive(Clone)]
pub struct Seats {
    limit: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place; dropped with it.
pub struct Seat {
    seats: Seats,
    address: IpAddr,
}

impl Seats {
    /// `limit` for each address; 0: any number.
    pub fn new(limit: usize) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// None when the address has as many as it may.
    pub fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if self.limit != 0 && *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Seat { seats: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.seats.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let seats = Seats::new(2);
        let one: IpAddr = [127, 0, 0, 1].into();
        let taken = (seats.take(one).expect("first"), seats.take(one).expect("second"));
        assert!(seats.take(one).is_none());
        assert!(seats.take([127, 0, 0, 2].into()).is_some());
        drop(taken);
        assert!(seats.take(one).is_some());
        assert_eq!(seats.counts.lock().expect("no panic").len(), 0);
    }
}
