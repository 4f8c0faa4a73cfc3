use beaver_harness::{driver::{own, Driver, reference::Reference}, run, scenario, program::Plan};
#[test] fn tmp() {
    let native = own::native(Some(env!("CARGO_BIN_EXE_beaver-harness").into())).unwrap();
    let reference = Reference::new();
    for driver in [&native as &dyn Driver, &reference] {
      for program in scenario::all() {
        let plan = Plan::from(program);
        let name = plan.frame.name.clone();
        let settings = run::Settings { helper: Some(env!("CARGO_BIN_EXE_beaver-harness").into()), ..Default::default() };
        match run::run(driver, &plan, &settings, &run::Progress::default(), None) {
          Ok(ran) => {
            let fails = ran.history.operations.iter().filter(|o| o.ok().is_none()).map(|o| format!("{} {:?}", o.op.name(), o.outcome)).take(3).collect::<Vec<_>>();
            println!("{} {name}: {} ops in {:?}, {:?} {:?} {:?} {:?}", driver.name(), ran.history.operations.len(), ran.elapsed, ran.troubles, ran.notes, fails, ran.history.observations.iter().filter(|o| matches!(o.seen, beaver_harness::history::Seen::Note(_)|beaver_harness::history::Seen::IntegrityCheck(_))).collect::<Vec<_>>());
          }
          Err(e) => println!("{} {name}: {e}", driver.name()),
        }
      }
    }
}
