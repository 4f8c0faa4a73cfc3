//! Managers of several kinds, in transactions that all of them take part in.

use super::{Checked, Machine, Moment, Said};
use super::{blob::Blobs, collection::Collections, dict::Dicts, list::Lists, log::Logs};
use super::{channel::Channels, queue::Queues};
use beaver_tests::{Result, Store};
use proptest::prelude::*;

macro_rules! several {
    ($($kind:ident: $machine:ty),*) => {
        pub(crate) struct Several;

        #[derive(Clone, Debug)]
        pub(crate) enum Op {
            $($kind(<$machine as Machine>::Op)),*
        }

        #[derive(Debug, PartialEq)]
        pub(crate) enum Answer {
            $($kind(<$machine as Machine>::Answer)),*
        }

        #[derive(Clone, Debug, Default)]
        #[expect(non_snake_case, reason = "a field for each kind")]
        pub(crate) struct Contents {
            $($kind: <$machine as Machine>::Contents),*
        }

        #[derive(Debug, Default)]
        #[expect(non_snake_case, reason = "a field for each kind")]
        pub(crate) struct Place {
            $($kind: <$machine as Machine>::Place),*
        }

        #[expect(non_snake_case, reason = "a field for each kind")]
        pub(crate) struct Handle {
            $($kind: <$machine as Machine>::Handle),*
        }

        impl Machine for Several {
            type Op = Op;
            type Answer = Answer;
            type Contents = Contents;
            type Handle = Handle;
            type Place = Place;

            fn op() -> BoxedStrategy<Op> {
                prop_oneof![$(<$machine>::op().prop_map(Op::$kind)),*].boxed()
            }

            fn open(store: &Store, name: &str) -> Result<Handle> {
                Ok(Handle {
                    $($kind: <$machine>::open(store, name)?),*
                })
            }

            fn run(
                handle: &mut Handle,
                contents: &Contents,
                op: &Op,
                now: Moment,
            ) -> Result<Answer> {
                match op {
                    $(Op::$kind(op) => {
                        <$machine>::run(&mut handle.$kind, &contents.$kind, op, now)
                            .map(Answer::$kind)
                    })*
                }
            }

            fn expect(
                contents: &mut Contents,
                place: &mut Place,
                op: &Op,
                now: Moment,
                said: Said<'_, Answer>,
            ) -> Result<Answer> {
                match op {
                    $(Op::$kind(op) => {
                        let said = said.map(|answer| match answer {
                            Answer::$kind(answer) => answer,
                            other => panic!("another kind's answer: {other:?}"),
                        });
                        <$machine>::expect(&mut contents.$kind, &mut place.$kind, op, now, said)
                            .map(Answer::$kind)
                    })*
                }
            }

            fn look(contents: &Contents, place: &mut Place, ended: Option<bool>) {
                $(<$machine>::look(&contents.$kind, &mut place.$kind, ended);)*
            }

            fn check(handle: &mut Handle, contents: &Contents) -> Checked {
                $(<$machine>::check(&mut handle.$kind, &contents.$kind)?;)*
                Ok(())
            }
        }
    };
}

several! {
    Blob: Blobs,
    Channel: Channels,
    Collection: Collections,
    Dict: Dicts,
    List: Lists,
    Log: Logs,
    Queue: Queues
}
