//! What becomes of an event on its way from the pool to the list and the stream.

use super::*;

struct Bench {
    sorter: Sorter,
    events: watch::Receiver<Events>,
    stream: mpsc::Receiver<Told>,
}

fn bench() -> Bench {
    let (kept, events) = watch::channel(Events::default());
    let (told, stream) = mpsc::channel(1024);
    let settings = Settings { node_name: "alpha".to_owned(), server: true, services: Box::new(Vec::new) };
    Bench { sorter: Sorter { settings, kept, told }, events, stream }
}

fn fired(name: &str, node_filter: &str, ltime: u64) -> UserEvent {
    let what = Payload {
        id: format!("00000000-0000-0000-0000-{ltime:012}"),
        name: name.to_owned(),
        node_filter: node_filter.to_owned(),
        version: 1,
        ..Payload::default()
    };
    let name = payload::serf_name(name).into();
    UserEvent { ltime, name, payload: what.to_bytes().into(), coalesce: false }
}

fn plain(name: &str) -> UserEvent {
    UserEvent { ltime: 1, name: name.into(), payload: b"bytes"[..].into(), coalesce: true }
}

fn listed(bench: &Bench) -> Vec<u64> {
    bench.events.borrow().iter().map(|event| event.ltime).collect()
}

#[test]
fn the_last_256_meant_for_us_are_listed_oldest_first() {
    let bench = bench();
    for ltime in 1..=300 {
        bench.sorter.event(&fired("deploy", "", ltime));
    }
    assert_eq!(listed(&bench), (45..=300).collect::<Vec<_>>());
}

#[test]
fn what_is_meant_for_others_is_told_and_not_listed() {
    let mut bench = bench();
    bench.sorter.event(&fired("deploy", "^beta$", 1));
    bench.sorter.event(&fired("deploy", "^alpha$", 2));
    bench.sorter.event(&fired("deploy", "[", 3));
    assert_eq!(listed(&bench), [2]);
    let meant: Vec<bool> = std::iter::from_fn(|| bench.stream.try_recv().ok())
        .map(|told| matches!(told, Told::Fired { meant: true, .. }))
        .collect();
    assert_eq!(meant, [false, true, false]);
}

#[test]
fn events_that_are_not_consuls_are_told_and_not_listed() {
    let mut bench = bench();
    bench.sorter.event(&plain("deploy"));
    bench.sorter.event(&plain("consul:event:deploy"));
    bench.sorter.event(&plain(NEW_LEADER));
    bench.sorter.event(&fired(REMOTE_EXEC, "", 9));
    assert_eq!(listed(&bench), [0; 0]);
    assert_eq!(std::iter::from_fn(|| bench.stream.try_recv().ok()).count(), 4);
}
