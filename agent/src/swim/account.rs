//! How what happens to a member came about, for whoever watches: who said so, how we came to know
//! it, what changed. Used by the files that change members; decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::event::{Account, MemberEvent, MemberNews, Source};

use super::member::{Member, to_tags};
use super::suspicion::Suspicion;
use super::{Notice, Output, Swim};
use crate::moment::Moment;

/// A member before what happened to it.
#[derive(Debug)]
pub(super) struct Before {
    status: shared::event::MemberStatus,
    address: std::net::SocketAddr,
    meta: std::sync::Arc<[u8]>,
}

impl Before {
    pub(super) fn of(member: &Member) -> Self {
        Self { status: member.shown_status(), address: member.address, meta: std::sync::Arc::clone(&member.meta) }
    }

    /// What differs now.
    pub(super) fn compare(&self, member: &Member, account: &mut Account) {
        account.status_before = (self.status != member.shown_status()).then_some(self.status);
        account.address_before = (self.address != member.address).then(|| self.address.to_string());
        if self.meta != member.meta {
            account.tags_changed = changed(&to_tags(&self.meta), &to_tags(&member.meta));
        }
    }
}

/// Names whose values differ, or that only one of the two has.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let mut names: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
    names.extend(after.iter().filter(|(name, value)| before.get(*name) != Some(*value)).map(|(name, _)| name.clone()));
    names.sort_unstable();
    names
}

/// What is known of a doubt.
pub(super) fn doubted(now: Moment, suspicion: &Suspicion, account: &mut Account) {
    account.suspected_by = suspicion.doubters().iter().map(ToString::to_string).collect();
    account.confirmations = Some(suspicion.confirmations());
    account.expected = Some(suspicion.expected());
    account.suspected_ms = Some(millis(now.since(suspicion.start)));
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Swim {
    /// What `from` says, known by whatever is being handled.
    pub(super) fn account(&self, from: Option<&str>) -> Account {
        Account { from: from.map(str::to_owned), source: Some(self.source), ..Account::default() }
    }

    /// Of an order, which is ours when we gave it; whose it is otherwise, nobody tells.
    pub(super) fn account_of_order(&self) -> Account {
        self.account((self.source == Source::Own).then_some(&*self.me))
    }

    pub(super) fn tell(
        &self,
        name: &str,
        account: Account,
        event: impl FnOnce(MemberNews) -> MemberEvent,
        out: &mut Output,
    ) {
        let Some(member) = self.members.get(name) else { return };
        let state = member.to_state(self.config.pool);
        out.notices.push(Notice::Member(event(MemberNews { state, account })));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use shared::event::{Cause, MemberStatus, Pool};

    use super::super::codec::{Alive, Doubt, Message};
    use super::super::packet::pack;
    use super::super::timing::Timing;
    use super::super::{Config, Input, Order, VERSIONS};
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8301))
    }

    fn alive<'a>(node: &'a str, last: u8, incarnation: u32, meta: &'a [u8]) -> Message<'a> {
        Message::Alive(Alive { incarnation, node, address: address(last), meta, versions: VERSIONS })
    }

    fn suspect<'a>(node: &'a str, from: &'a str) -> Message<'a> {
        Message::Suspect(Doubt { incarnation: 1, node, from })
    }

    fn start() -> (Swim, Moment) {
        let config = Config {
            pool: Pool::Lan,
            name: "me".to_owned(),
            address: address(1),
            tags: BTreeMap::new(),
            timing: Timing::lan(),
            seal_bytes: 0,
            coordinates: true,
        };
        let now = Moment::from_micros(1_000_000);
        let mut swim = Swim::new(config, now, 7, &mut Output::default());
        for (last, name) in [(2, "a"), (3, "b"), (4, "c"), (5, "d")] {
            hear(&mut swim, now, &alive(name, last, 1, b"\xff\x80"));
        }
        (swim, now)
    }

    fn hear(swim: &mut Swim, now: Moment, message: &Message<'_>) -> Vec<MemberEvent> {
        let bytes = pack(&[message.to_bytes()], false);
        news(swim, now, Input::Packet { from: address(9), bytes: &bytes })
    }

    fn news(swim: &mut Swim, now: Moment, input: Input<'_>) -> Vec<MemberEvent> {
        let mut out = Output::default();
        swim.handle(now, input, &mut out);
        let member = |notice| if let Notice::Member(event) = notice { Some(event) } else { None };
        out.notices.into_iter().filter_map(member).collect()
    }

    #[track_caller]
    fn one(events: Vec<MemberEvent>) -> MemberEvent {
        let [event] = <[_; 1]>::try_from(events).expect("one event");
        event
    }

    #[test]
    fn a_suspicion_tells_who_doubts_and_how_it_ended() {
        let (mut swim, now) = start();
        let MemberEvent::Suspected(first) = one(hear(&mut swim, now, &suspect("a", "b"))) else { panic!("suspected") };
        assert_eq!((first.account.from.as_deref(), first.account.source), (Some("b"), Some(Source::Rumour)));
        assert_eq!((first.account.confirmations, first.account.expected), (Some(0), Some(2)));
        assert_eq!((first.account.fails_in_ms, first.state.status), (Some(24_000), MemberStatus::Suspect));

        let later = now + Duration::from_secs(1);
        let MemberEvent::Confirmed(second) = one(hear(&mut swim, later, &suspect("a", "c"))) else {
            panic!("confirmed");
        };
        assert_eq!((second.account.from.as_deref(), second.account.confirmations), (Some("c"), Some(1)));
        assert_eq!(
            (second.account.suspected_by, second.account.suspected_ms),
            (vec!["b".into(), "c".into()], Some(1000))
        );
        assert!(hear(&mut swim, later, &suspect("a", "c")).is_empty(), "said twice is no confirmation");

        let refuted = hear(&mut swim, later, &alive("a", 2, 2, b"\xff\x80"));
        let MemberEvent::Refuted(third) = one(refuted) else { panic!("refuted") };
        assert_eq!((third.state.incarnation, third.account.status_before), (2, Some(MemberStatus::Suspect)));
        assert_eq!((third.account.from.as_deref(), third.account.suspected_by.len()), (Some("a"), 2));
    }

    #[test]
    fn a_failure_tells_its_cause() {
        let (mut swim, now) = start();
        hear(&mut swim, now, &suspect("a", "b"));
        let over = now + Duration::from_secs(24);
        let failed = news(&mut swim, over, Input::Wake).into_iter().find_map(|event| match event {
            MemberEvent::Failed(news) if news.state.name == "a" => Some(news.account),
            _ => None,
        });
        let account = failed.expect("a has failed");
        assert_eq!(
            (account.from.as_deref(), account.source, account.cause),
            (Some("me"), Some(Source::Own), Some(Cause::Silent))
        );
        assert_eq!((account.suspected_ms, account.suspected_by), (Some(24_000), vec!["b".to_owned()]));

        let told = Message::Dead(Doubt { incarnation: 1, node: "b", from: "c" });
        let MemberEvent::Failed(told) = one(hear(&mut swim, over, &told)) else { panic!("failed") };
        assert_eq!((told.account.from.as_deref(), told.account.cause), (Some("c"), Some(Cause::Told)));
        let order = Input::Order(Order::ForceLeave { ticket: 1, name: "b".into(), prune: true });
        let events = news(&mut swim, over, order);
        let [MemberEvent::Left(left), MemberEvent::Reaped(reaped)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((left.account.from.as_deref(), left.account.cause), (Some("me"), Some(Cause::Forced)));
        assert_eq!(reaped.account.cause, Some(Cause::Pruned));
    }

    #[test]
    fn who_comes_back_from_elsewhere_is_told_with_both_addresses() {
        let (mut swim, now) = start();
        let bye = Message::Dead(Doubt { incarnation: 1, node: "a", from: "a" });
        let MemberEvent::Left(left) = one(hear(&mut swim, now, &bye)) else { panic!("left") };
        assert_eq!(left.account.cause, Some(Cause::Goodbye));
        let back = hear(&mut swim, now, &alive("a", 77, 1, b"\xff\x80"));
        let MemberEvent::Rejoined(back) = one(back) else { panic!("rejoined") };
        assert_eq!(back.account.address_before.as_deref(), Some("10.0.0.2:8301"));
        assert_eq!((back.state.address.as_str(), back.account.status_before), ("10.0.0.77", Some(MemberStatus::Left)));
    }

    #[test]
    fn changed_tags_are_named() {
        let (mut swim, now) = start();
        let tags = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            super::super::member::to_meta(&pairs.collect())
        };
        hear(&mut swim, now, &alive("a", 2, 2, &tags(&[("kept", "1"), ("gone", "1"), ("other", "1")])));
        let event = one(hear(&mut swim, now, &alive("a", 2, 3, &tags(&[("kept", "1"), ("new", "1"), ("other", "2")]))));
        let MemberEvent::Updated(news) = event else { panic!("updated") };
        assert_eq!(news.account.tags_changed, ["gone", "new", "other"]);
    }
}
