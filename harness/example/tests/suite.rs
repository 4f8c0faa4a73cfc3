//! Does the store keep what it claims?

use beaver_harness::driver::Embedded;
use beaver_harness::suite::Options;
use beaver_harness_example::Notes;
use std::time::Duration;

// Without options each workload takes a second.
beaver_harness::suite!(
    Embedded::<Notes>::new(),
    options = Options {
        duration: Duration::from_millis(300),
        ..Options::for_tests()
    }
);
