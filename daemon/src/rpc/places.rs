//! Who has a place, and who loses one when all are taken.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use tokio::{
    task::{Id, JoinSet},
    time::Instant,
};

use super::{
    activity::Activity,
    connection::Guest,
    limits::{CALM, OWNERS, SHARE, STORM},
    share::Share,
};
use crate::access::Peer;

/// All connections.
#[derive(Default)]
pub(super) struct Places {
    pub(super) tasks: JoinSet<()>,
    taken: HashMap<Id, Taken>,
    processes: HashMap<Process, Holding>,
    /// The most connections at a time since memory was last given back.
    most: usize,
    calm: Option<Instant>,
}

/// A process of a user, as far as the kernel tells.
type Process = (u32, Option<i32>);

struct Taken {
    peer: Peer,
    activity: Arc<Activity>,
}

#[derive(Default)]
struct Holding {
    connections: usize,
    share: Arc<Share>,
}

impl Places {
    /// Serves a connection by what `serve` makes of it.
    pub(super) fn begin<F>(&mut self, peer: Peer, serve: impl FnOnce(Guest) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let holding = self.processes.entry(process(peer)).or_default();
        holding.connections += 1;
        let activity = Arc::new(Activity::default());
        let guest = Guest { peer, activity: Arc::clone(&activity), share: Arc::clone(&holding.share) };
        let task = self.tasks.spawn(serve(guest));
        self.taken.insert(task.id(), Taken { peer, activity });
        self.most = self.most.max(self.tasks.len());
    }

    /// Waits for a connection to end.
    pub(super) async fn next_end(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        let Some(process) = self.taken.remove(&id).map(|taken| process(taken.peer)) else { return };
        if let Some(holding) = self.processes.get_mut(&process) {
            holding.connections -= 1;
            if holding.connections == 0 {
                self.processes.remove(&process);
            }
        }
    }

    /// Has one connection go, of `limit`, if one can; says whose.
    ///
    /// It is one of the user and the process with the most, and of these the one that has been without a
    /// call for longest, or has had one for far too long. A process that has its part loses its oldest even if
    /// all have calls.
    pub(super) fn make_room(&self, limit: usize) -> Option<Peer> {
        let heaviest = self.processes.iter().max_by_key(|(_, holding)| holding.connections);
        let greedy = heaviest.filter(|(_, holding)| holding.connections >= (limit / SHARE).max(2));
        if let Some((&greedy, _)) = greedy {
            return leave(self.dispensable(|peer| process(peer) == greedy, true));
        }
        let users = self.users();
        let weight = |taken: &Taken| {
            let process = self.processes.get(&process(taken.peer));
            (users.get(&taken.peer.uid), process.map(|holding| holding.connections))
        };
        let (now, all) = (Instant::now(), || self.taken.values());
        let quiet = all().filter_map(|taken| Some((taken, taken.quiet_since(now)?)));
        let busy = all().filter_map(|taken| Some((taken, taken.activity.busy_for_long(now)?)));
        let first = |(taken, since): &(&Taken, Instant)| (weight(taken), Reverse(*since));
        let goes = quiet.max_by_key(first).or_else(|| busy.max_by_key(first));
        leave(goes.map(|(taken, _)| taken))
    }

    /// Whether this peer finds a place among `limit`. The owner does; other users share what is not the owner's
    /// alone, and the one of them with the most makes room for one with less.
    pub(super) fn admits(&self, peer: Peer, owner: u32, limit: usize) -> bool {
        let mut users = self.users();
        users.remove(&owner);
        let most = (limit - limit / OWNERS).max(1);
        if peer.uid == owner || users.values().sum::<usize>() < most {
            return true;
        }
        let own = users.get(&peer.uid).copied().unwrap_or_default();
        let heaviest = users.iter().max_by_key(|(_, connections)| **connections);
        let Some((&uid, _)) = heaviest.filter(|(_, connections)| **connections > own + 1) else {
            // Its own, if one of them is quiet.
            return leave(self.dispensable(|other| other.uid == peer.uid, false)).is_some();
        };
        leave(self.dispensable(|other| other.uid == uid, true)).is_some()
    }

    /// The connection of `whose` that has been without a call for longest; else, if calls do not protect it, the
    /// oldest.
    fn dispensable(&self, whose: impl Fn(Peer) -> bool, even_with_calls: bool) -> Option<&Taken> {
        let now = Instant::now();
        let its = || self.taken.values().filter(|taken| whose(taken.peer));
        let quiet = its().filter_map(|taken| Some((taken, taken.quiet_since(now)?)));
        let quiet = quiet.min_by_key(|(_, since)| *since).map(|(taken, _)| taken);
        quiet.or_else(|| its().filter(|_| even_with_calls).min_by_key(|taken| taken.activity.begun()))
    }

    /// How many connections each user has.
    fn users(&self) -> HashMap<u32, usize> {
        let mut users = HashMap::new();
        for ((uid, _), holding) in &self.processes {
            *users.entry(*uid).or_default() += holding.connections;
        }
        users
    }

    /// When to give back what a storm of connections took: a while after so many have ended that it is worth
    /// it.
    pub(super) fn calm_at(&mut self) -> Option<Instant> {
        let is_over = self.most >= STORM && self.tasks.len() <= self.most / 4;
        self.calm = is_over.then(|| self.calm.unwrap_or_else(|| Instant::now() + CALM));
        self.calm
    }

    /// Forgets the storm, and what it took.
    pub(super) fn calm(&mut self) {
        self.most = self.tasks.len();
        self.taken.shrink_to_fit();
        self.processes.shrink_to_fit();
    }
}

impl Taken {
    /// Since when it has been without a call, if it has had the time for one.
    fn quiet_since(&self, now: Instant) -> Option<Instant> {
        self.activity.quiet_since().filter(|_| self.activity.is_settled(now))
    }
}

fn leave(taken: Option<&Taken>) -> Option<Peer> {
    let taken = taken?;
    taken.activity.leave();
    Some(taken.peer)
}

fn process(peer: Peer) -> Process {
    (peer.uid, peer.pid)
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;
    use crate::rpc::limits::{CALL, IDLE};

    const LIMIT: usize = 8;

    struct World {
        places: Places,
        guests: Vec<Guest>,
    }

    impl World {
        /// A connection for each uid and pid, a second apart.
        async fn with(peers: &[(u32, i32)]) -> Self {
            let mut world = Self { places: Places::default(), guests: Vec::new() };
            for &(uid, pid) in peers {
                let guests = &mut world.guests;
                world.places.begin(Peer { uid, pid: Some(pid) }, |guest| {
                    guests.push(guest);
                    pending()
                });
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            world
        }

        /// The index of the one that goes.
        async fn goes(&self) -> Option<usize> {
            let told = self.places.make_room(LIMIT);
            let mut gone = None;
            for (index, guest) in self.guests.iter().enumerate() {
                let leaves = tokio::time::timeout(Duration::ZERO, guest.activity.told_to_leave()).await;
                if leaves.is_ok() {
                    assert_eq!((gone, told), (None, Some(guest.peer)));
                    gone = Some(index);
                }
            }
            assert_eq!(told.is_some(), gone.is_some());
            gone
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_quietest_of_the_process_with_most_goes() {
        let world = World::with(&[(1, 10), (1, 20), (1, 20), (1, 30)]).await;
        assert_eq!(world.goes().await, Some(1));
        // With a call until just now, it is the other one's turn; with calls on both, the lighter ones'.
        let call = world.guests[1].activity.call();
        assert_eq!(world.goes().await, Some(2));
        let other = world.guests[2].activity.call();
        assert_eq!(world.goes().await, Some(0));
        drop(call);
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(other);
        assert_eq!(world.goes().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_with_many_processes_makes_room_for_another_user() {
        let world = World::with(&[(2, 10), (2, 10), (1, 20), (1, 30), (1, 40)]).await;
        assert_eq!(world.goes().await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_only_just_come_in_keeps_their_place() {
        let world = World::with(&[(1, 10)]).await;
        let mut world = World { places: world.places, guests: world.guests };
        for pid in [20, 30] {
            let guests = &mut world.guests;
            world.places.begin(Peer { uid: 1, pid: Some(pid) }, |guest| {
                guests.push(guest);
                pending()
            });
        }
        assert_eq!(world.goes().await, Some(0));
        let _call = world.guests[0].activity.call();
        assert_eq!(world.goes().await, None, "two have had no time for a call, and one has one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_lasts_for_ever_keeps_no_place_for_ever() {
        let world = World::with(&[(1, 10), (1, 20), (1, 30)]).await;
        let calls: Vec<_> = world.guests.iter().map(|guest| guest.activity.call()).collect();
        tokio::time::advance(CALL).await;
        assert_eq!(world.goes().await, None);
        tokio::time::advance(IDLE).await;
        assert_eq!(world.goes().await, Some(0));
        drop(calls);
    }

    #[tokio::test(start_paused = true)]
    async fn other_users_leave_the_owner_a_part_and_share_the_rest() {
        const OWNER: u32 = 1;
        let world = World::with(&[(2, 10), (2, 10), (2, 20), (2, 30), (2, 40), (3, 50)]).await;
        let calls: Vec<_> = world.guests.iter().map(|guest| guest.activity.call()).collect();
        let gone = async |guest: &Guest| {
            tokio::time::timeout(Duration::ZERO, guest.activity.told_to_leave()).await.is_ok()
        };
        let admits = |uid| world.places.admits(Peer { uid, pid: None }, OWNER, LIMIT);
        assert!(admits(OWNER));
        assert!(!admits(2), "it has the most, and all of its places have calls");
        assert!(!gone(&world.guests[0]).await);
        assert!(admits(3) && gone(&world.guests[0]).await, "its oldest goes, for one with less");
        assert!(admits(4) && gone(&world.guests[0]).await);
        drop(calls);
        assert!(admits(2), "one of its own is quiet now");
        let few = World::with(&[(2, 10), (2, 20), (1, 30), (1, 40), (1, 50)]).await;
        assert!(few.places.admits(Peer { uid: 2, pid: None }, OWNER, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_protect_a_place_but_not_half_of_all() {
        let world = World::with(&[(1, 10), (1, 20), (1, 20), (1, 20)]).await;
        let calls: Vec<_> = world.guests.iter().map(|guest| guest.activity.call()).collect();
        assert_eq!(world.goes().await, None);
        let world = World::with(&[(1, 10), (1, 20), (1, 20), (1, 20), (1, 20)]).await;
        let more: Vec<_> = world.guests.iter().map(|guest| guest.activity.call()).collect();
        assert_eq!(world.goes().await, Some(1));
        drop((calls, more));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_over_once() {
        let mut world = World::with(&[(1, 10); STORM]).await;
        assert_eq!(world.places.calm_at(), None);
        world.places.tasks.abort_all();
        while !world.places.tasks.is_empty() {
            world.places.next_end().await;
        }
        let calm = world.places.calm_at();
        assert_eq!(calm, Some(Instant::now() + CALM));
        tokio::time::advance(CALM / 2).await;
        assert_eq!(world.places.calm_at(), calm);
        assert!(world.places.processes.is_empty());
        world.places.calm();
        assert_eq!(world.places.calm_at(), None);
    }
}
