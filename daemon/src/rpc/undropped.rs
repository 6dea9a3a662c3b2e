//! Tokens that a place refused and that are held all the same, since no other may be fetched yet: whoever said so is not
//! answered with the same one again in the same breath. Some clients would go on with it for ever.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use url::Url;

use crate::domain::{time::Moment, token::TokenId};

/// Of as many refusals it is remembered; each is for the next question about its place.
const MAX_REMEMBERED: usize = 64;

/// Who asks later asks for something else: the token may be good for that.
const BREATH: Duration = Duration::from_secs(2);

/// Who asks, as far as their questions can be told apart: a user, with a tool, about a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) uid: u32,
    pub(super) collection: String,
    pub(super) place: Url,
}

/// Who was refused what.
#[derive(Debug, Default)]
pub(super) struct Undropped(Mutex<VecDeque<Refused>>);

#[derive(Debug)]
struct Refused {
    asker: Asker,
    id: TokenId,
    until: Moment,
}

impl Undropped {
    /// The place has refused this token of the user's just now.
    pub(super) fn note(&self, now: Moment, asker: Asker, id: TokenId) {
        let mut refused = self.lock();
        refused.retain(|one| one.asker != asker);
        if refused.len() == MAX_REMEMBERED {
            refused.pop_front();
        }
        refused.push_back(Refused { asker, id, until: now + BREATH });
    }

    /// The name of the token that the place has refused since it was asked last, and just now.
    pub(super) fn take(&self, now: Moment, asker: &Asker) -> Option<String> {
        let mut refused = self.lock();
        let at = refused.iter().position(|one| one.asker == *asker)?;
        refused.remove(at).filter(|one| !one.until.reached(now)).map(|one| one.id.0)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: Duration::from_secs(1_000_000 + seconds), boot: Duration::from_secs(seconds) }
    }

    fn asker(uid: u32, number: usize) -> Asker {
        let place = Url::parse(&format!("https://git.example.com/{number}")).unwrap();
        Asker { uid, collection: "git".to_owned(), place }
    }

    #[test]
    fn a_refusal_is_for_the_next_question_of_its_user_and_tool_about_its_place() {
        let undropped = Undropped::default();
        undropped.note(at(0), asker(1, 1), TokenId("a".to_owned()));
        undropped.note(at(0), asker(1, 1), TokenId("b".to_owned()));
        let docker = Asker { collection: "docker".to_owned(), ..asker(1, 1) };
        for other in [asker(2, 1), asker(1, 2), docker] {
            assert_eq!(undropped.take(at(1), &other), None, "{other:?}");
        }
        assert_eq!(undropped.take(at(1), &asker(1, 1)), Some("b".to_owned()));
        assert_eq!(undropped.take(at(1), &asker(1, 1)), None);
    }

    #[test]
    fn a_question_of_its_own_is_not_answered_with_a_refusal_of_before() {
        let undropped = Undropped::default();
        undropped.note(at(0), asker(1, 1), TokenId("a".to_owned()));
        assert_eq!(undropped.take(at(2), &asker(1, 1)), None);
    }

    #[test]
    fn no_more_are_remembered_than_its_limit() {
        let undropped = Undropped::default();
        for number in 0..=MAX_REMEMBERED {
            undropped.note(at(0), asker(1, number), TokenId(number.to_string()));
        }
        assert_eq!(undropped.take(at(0), &asker(1, 0)), None, "the oldest makes room");
        assert_eq!(undropped.take(at(0), &asker(1, 1)), Some("1".to_owned()));
        assert_eq!(undropped.lock().len(), MAX_REMEMBERED - 1);
    }
}
