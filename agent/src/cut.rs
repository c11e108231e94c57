//! Whose traffic this process drops: nobody's, but in a node of `console demo`, which is told by the process
//! that started it, over a descriptor that nobody else holds. Nothing else in the agent can set it.
//!
//! `gossip` and `rpc` ask here before they send and after they receive. A packet of who is cut off is lost.
//! A stream of theirs stands still and is not closed: a network that parts closes nothing either.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::sync::OnceLock;

use tokio::sync::watch;

/// No order is longer: some hundred addresses.
const ORDER_BYTES_MAX: u64 = 4_096;

static CUT: OnceLock<watch::Sender<BTreeSet<IpAddr>>> = OnceLock::new();

/// Whether packets of this peer are lost, to it and from it.
pub fn is_cut(peer: IpAddr) -> bool {
    CUT.get().is_some_and(|cut| cut.borrow().contains(&peer.to_canonical()))
}

/// Returns once a stream of this peer may go on: at once, unless it is cut off.
pub async fn passage(peer: IpAddr) {
    if let Some(cut) = CUT.get() {
        let peer = peer.to_canonical();
        // An error would mean that nobody can cut any more; the sender lives as long as the process.
        let _ = cut.subscribe().wait_for(|cut| !cut.contains(&peer)).await;
    }
}

/// Takes orders from here on, in a thread of their own: a line each, the addresses to drop with blanks
/// between, in place of those before. Their end changes nothing.
pub fn obey(orders: impl Read + Send + 'static) -> io::Result<()> {
    let cut = CUT.get_or_init(|| watch::channel(BTreeSet::new()).0);
    let read = move || {
        let mut orders = BufReader::new(orders);
        let mut line = String::new();
        loop {
            line.clear();
            match orders.by_ref().take(ORDER_BYTES_MAX).read_line(&mut line) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            match addresses(&line) {
                Some(addresses) => drop(cut.send_replace(addresses)),
                None => tracing::warn!(target: "agent", order = line.trim_end(), "no order to drop traffic"),
            }
        }
    };
    std::thread::Builder::new().name("cut".to_owned()).spawn(read).map(drop)
}

/// The addresses of an order; none when it is not whole or names something else.
fn addresses(line: &str) -> Option<BTreeSet<IpAddr>> {
    let words = line.strip_suffix('\n')?.split_whitespace();
    words.map(|word| word.parse::<IpAddr>().ok().map(|address| address.to_canonical())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_addresses_and_nothing_else() {
        let parsed = |line: &str| addresses(line).map(|found| found.len());
        for (line, expected) in [
            ("\n", Some(0)),
            ("127.1.2.3\n", Some(1)),
            ("127.1.2.3  ::1 127.1.2.3\n", Some(2)),
            ("127.1.2.3", None),
            ("127.1.2.3 everybody\n", None),
        ] {
            assert_eq!(parsed(line), expected, "{line:?}");
        }
    }

    #[tokio::test]
    async fn who_is_cut_off_waits_until_an_order_says_otherwise() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        obey(theirs).expect("a thread");
        let peer: IpAddr = "127.91.17.5".parse().expect("an address");
        let say = |text: &str| io::Write::write_all(&mut &ours, text.as_bytes()).expect("it is read");
        let until = |wanted: bool| async move {
            let mut cut = CUT.get().expect("orders are taken").subscribe();
            cut.wait_for(|cut| cut.contains(&peer) == wanted).await.expect("it is never dropped");
        };
        passage(peer).await;
        say("127.91.17.5\n");
        until(true).await;
        assert!(is_cut(peer));
        let mut waits = Box::pin(passage(peer));
        assert!(futures_util::poll!(&mut waits).is_pending());
        // What is no order changes nothing.
        say("what\n\n");
        waits.await;
        until(false).await;
    }
}
