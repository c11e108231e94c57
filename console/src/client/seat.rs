//! Which lane is in use: the one that was asked for, or, while that is away, the first that answers.
//! Shared by the lanes of one client; knows no agent.

use std::sync::Arc;

use tokio::sync::watch;

use crate::msg::LaneId;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seat {
    /// Asked for, or last in use.
    preferred: LaneId,
    /// Live and in use.
    holder: Option<LaneId>,
    /// The preferred one failed: all may try.
    is_away: bool,
}

impl Seat {
    /// This lane should be connected, or try to be.
    pub(super) fn wants(&self, lane: LaneId) -> bool {
        match self.holder {
            Some(holder) => holder == lane,
            None => self.is_away || self.preferred == lane,
        }
    }
}

/// The seat as all lanes see it; clones see the same one.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    seat: Arc<watch::Sender<Seat>>,
    seen: watch::Receiver<Seat>,
}

impl Seats {
    pub(super) fn new() -> Self {
        let (seat, seen) = watch::channel(Seat::default());
        Self { seat: Arc::new(seat), seen }
    }

    pub(super) fn is_wanted(&self, lane: LaneId) -> bool {
        self.seen.borrow().wants(lane)
    }

    pub(super) async fn until(&mut self, holds: impl Fn(&Seat) -> bool) {
        // Its sender lives in `self`.
        let _ = self.seen.wait_for(|seat| holds(seat)).await;
    }

    /// Takes the seat, unless another lane has it.
    pub(super) fn claim(&self, lane: LaneId) -> bool {
        self.seat.send_if_modified(|seat| {
            let is_free = seat.wants(lane);
            if is_free {
                *seat = Seat { preferred: lane, holder: Some(lane), is_away: false };
            }
            is_free
        })
    }

    /// This lane failed: gives the seat back if it has it, and lets the others try.
    pub(super) fn release(&self, lane: LaneId) {
        self.seat.send_modify(|seat| {
            if seat.holder == Some(lane) {
                seat.holder = None;
            }
            seat.is_away |= seat.preferred == lane;
        });
    }

    /// Whoever has the seat loses it to this lane.
    pub(super) fn prefer(&self, lane: LaneId) {
        self.seat.send_replace(Seat { preferred: lane, holder: None, is_away: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LaneId = LaneId(0);
    const B: LaneId = LaneId(1);

    #[track_caller]
    fn check(seats: &Seats, expected: [bool; 2]) {
        assert_eq!([seats.is_wanted(A), seats.is_wanted(B)], expected);
    }

    #[test]
    fn the_first_that_answers_stands_in_for_one_that_is_away() {
        let seats = Seats::new();
        check(&seats, [true, false]);
        seats.release(A);
        check(&seats, [true, true]);
        assert!(seats.claim(B));
        check(&seats, [false, true]);
        assert!(!seats.claim(A));
        seats.release(B);
        check(&seats, [true, true]);
    }

    #[test]
    fn the_one_asked_for_gets_the_seat() {
        let seats = Seats::new();
        assert!(seats.claim(A));
        seats.release(B);
        check(&seats, [true, false]);
        seats.prefer(B);
        check(&seats, [false, true]);
        seats.release(B);
        assert!(seats.claim(A));
        check(&seats, [true, false]);
    }
}
