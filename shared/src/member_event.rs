//! What happens to members, as the event stream tells it: the member as it is afterwards, who said
//! so, how we came to know it, and what it amounted to. Part of [`crate::event`], which re-exports it.
//! Fields that are not known, or mean nothing for a type, are absent.

use serde::{Deserialize, Serialize};

use crate::event::{MemberState, MemberStatus};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Type", rename_all = "kebab-case")]
pub enum MemberEvent {
    /// Picture: a member as it is now, with the account of what last happened to it.
    Present(MemberNews),
    /// Listed for the first time.
    Joined(MemberNews),
    /// Somebody got no answer from it.
    Suspected(MemberNews),
    /// One more member suspects it, of its own finding.
    Confirmed(MemberNews),
    /// It says that it is alive, with a higher incarnation; about ourselves: that we said so.
    Refuted(MemberNews),
    Failed(MemberNews),
    Leaving(MemberNews),
    Left(MemberNews),
    /// It had failed or left and is here again.
    Rejoined(MemberNews),
    /// It was leaving, and stays.
    Alive(MemberNews),
    /// Tags or address changed.
    Updated(MemberNews),
    /// Forgotten: no longer listed.
    Reaped(MemberNews),
    /// Kept out of the pool; the state is what it claimed.
    Rejected(MemberNews),
    /// Somebody claims the name of another member; the state is what it claimed, and `held_by` who has it.
    Conflict(MemberNews),
}

impl MemberEvent {
    pub fn news(&self) -> &MemberNews {
        match self {
            Self::Present(news)
            | Self::Joined(news)
            | Self::Suspected(news)
            | Self::Confirmed(news)
            | Self::Refuted(news)
            | Self::Failed(news)
            | Self::Leaving(news)
            | Self::Left(news)
            | Self::Rejoined(news)
            | Self::Alive(news)
            | Self::Updated(news)
            | Self::Reaped(news)
            | Self::Rejected(news)
            | Self::Conflict(news) => news,
        }
    }

    pub fn state(&self) -> &MemberState {
        &self.news().state
    }
}

/// A member as it is after what happened, and how that came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberNews {
    #[serde(flatten)]
    pub state: MemberState,
    #[serde(flatten)]
    pub account: Account,
}

impl From<MemberState> for MemberNews {
    fn from(state: MemberState) -> Self {
        Self { state, account: Account::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Account {
    /// The member that says so: who suspects, who declared it failed, the member itself. Of a refutation
    /// of our own, the accuser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How the agent that tells it came to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_before: Option<MemberStatus>,
    /// `address:port`, when that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_before: Option<String>,
    /// Names of the tags that came, went or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags_changed: Vec<String>,
    /// Who suspects or suspected it, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suspected_by: Vec<String>,
    /// Members that confirmed the suspicion, and how many bring its time down to the shortest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmations: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u32>,
    /// How long it has been suspected, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspected_ms: Option<u64>,
    /// In how many milliseconds it will be declared failed when nobody refutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails_in_ms: Option<u64>,
    /// Of a name that two claim: who is listed under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<NameHolder>,
    /// In words, where the rest does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who is listed under a name that somebody else claims too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NameHolder {
    /// `address:port`.
    pub address: String,
    /// The node's ID; empty when it tells none.
    #[serde(rename = "ID")]
    pub id: String,
}

/// How an agent came to know something about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Its own probe, or a time of its own that ran out.
    Own,
    /// A packet told it.
    Rumour,
    /// A whole exchange of states told it.
    Exchange,
}

/// Why a member failed, left or was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Suspected until the time was over.
    Silent,
    /// Its host refuses connections, and nobody reaches it.
    Refused,
    /// Another member declared it.
    Told,
    /// It said good-bye.
    Goodbye,
    /// Somebody gave the order to let it go.
    Forced,
    /// Gone for so long that it is no longer listed.
    Expired,
    /// Somebody gave the order to list it no longer.
    Pruned,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{Body, Pool};

    #[test]
    fn news_is_one_flat_object_without_what_is_not_known() {
        let state = MemberState {
            pool: Pool::Lan,
            name: "one".into(),
            address: "172.20.20.10".into(),
            port: 8301,
            status: MemberStatus::Suspect,
            incarnation: 3,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: BTreeMap::new(),
        };
        let account = Account { from: Some("two".into()), confirmations: Some(1), ..Account::default() };
        let body = Body::Member(MemberEvent::Confirmed(MemberNews { state, account }));
        let text = serde_json::to_string(&body).expect("JSON");
        assert_eq!(
            text,
            r#"{"Kind":"member","Type":"confirmed","Pool":"lan","Name":"one","Address":"172.20.20.10","Port":8301,"Status":"suspect","Incarnation":3,"Protocol":2,"Versions":[1,5,2,2,5,4],"Tags":{},"From":"two","Confirmations":1}"#
        );
        assert_eq!(serde_json::from_str::<Body>(&text).expect("a body"), body);
    }
}
