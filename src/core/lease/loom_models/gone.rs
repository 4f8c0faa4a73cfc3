//! Those whom claims tell to be gone: who died, and what the living gave up.

use super::*;

models! {
    fn the_dead_lose_the_lock_and_only_they(store)
        catches GoneByGuess: "it lives and has time left"
    {
        store.claiming();
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let next = {
            let owner = store.connect(1);
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                owner.write(Some(&lease), |_| ()).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            })
        };
        let written = holder.write(Some(&lease), |_| ());
        assert_eq!(written, Ok(()), "it lives and has time left");
        store.kill(0);
        // A waiter asks now and then; no commit tells it.
        store.advance(GONE_LOOK);
        next.join().unwrap();
        check_writes(&store);
        assert_eq!(rows(&store), 0);
    }

    /// One who gives the lock back grants it to the next; another gives up its place
    /// at the same time.
    fn who_gives_back_grants_the_next_and_nobody_twice(store) within 3 preemptions
        catches GrantUnseen: "granted twice"
    {
        store.claiming();
        let inside = Inside::default();
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let next = {
            let (owner, inside) = (store.connect(1), inside.clone());
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                inside.visit(owner.store());
                owner.write(Some(&lease), |_| ()).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            })
        };
        let leaves = {
            let owner = store.connect(2);
            thread::spawn(move || {
                if let Ok(Entry::InLine(waiter)) = enter(&owner, &wanted(LONG_S), FOR_EVER) {
                    drop(waiter);
                }
                // Whether it got the lock or a place, it is gone.
                owner.store().kill(2);
            })
        };
        inside.visit(&store);
        assert!(grant::release(&holder, &lease).unwrap());
        leaves.join().unwrap();
        store.advance(GONE_LOOK);
        next.join().unwrap();
        check_writes(&store);
        store.read(|state| {
            let mut granted = BTreeSet::new();
            for event in &state.events {
                if let Event::Granted { id, .. } = event {
                    assert!(granted.insert(id), "granted twice: {:?}", state.events);
                }
            }
        });
    }

    /// One who lives gives up its place, or the lock, and can't delete the row, while another
    /// gives the lock back, perhaps to just that place.
    fn what_the_living_gave_up_keeps_the_lock_from_nobody(store) within 3 preemptions
        catches GoneUnseen: "deadlock"
    {
        store.claiming();
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        let leaves = {
            let owner = store.connect(2).cannot_delete();
            thread::spawn(move || match enter(&owner, &wanted(LONG_S), FOR_EVER) {
                Ok(Entry::InLine(waiter)) => drop(waiter),
                Ok(Entry::Granted(lease)) => owner.abandon(LOCK, &lease.waiter_id),
                Err(error) => unreachable!("{error}"),
            })
        };
        let next = {
            let owner = store.connect(1);
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                owner.write(Some(&lease), |_| ()).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            })
        };
        assert!(grant::release(&holder, &lease).unwrap());
        leaves.join().unwrap();
        // A waiter asks now and then; no commit tells it.
        store.advance(GONE_LOOK);
        next.join().unwrap();
        check_writes(&store);
        let last = grant::try_acquire(&store.connect(3), &wanted(LONG_S)).unwrap();
        assert!(last.is_some(), "nobody stands before it");
        assert_eq!(rows(&store), 1);
    }

    fn the_dead_are_not_granted_what_is_given_back(store) catches GoneUnseen: "deadlock" {
        store.claiming();
        let holder = store.connect(0);
        let lease = holder.acquire(FOR_EVER, LONG_S).unwrap();
        {
            let dead = store.connect(2);
            let Ok(Entry::InLine(waiter)) = enter(&dead, &wanted(LONG_S), FOR_EVER) else {
                unreachable!("it is held");
            };
            std::mem::forget(waiter);
        }
        store.kill(2);
        let next = {
            let owner = store.connect(1);
            thread::spawn(move || {
                let lease = owner.acquire(FOR_EVER, LONG_S).unwrap();
                assert!(grant::release(&owner, &lease).unwrap());
            })
        };
        assert!(grant::release(&holder, &lease).unwrap());
        next.join().unwrap();
        assert_eq!(rows(&store), 0);
    }
}
