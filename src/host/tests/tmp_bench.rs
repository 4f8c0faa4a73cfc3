#![allow(missing_docs, unsafe_code)]
fn cpu() -> f64 { let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 }; unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) }; t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9 }
use beaver_host::client::OpenOptions;
use beaver_host::{Grant, Host};
use std::time::Instant;
#[tokio::test(flavor = "current_thread")]
async fn bench() {
    let dir = tempfile::tempdir().unwrap();
    let t = Instant::now();
    let host = Host::builder().max_instances(1000).build().unwrap();
    println!("build {:?}", t.elapsed());
    let grant = Grant::directory(dir.path()).unwrap();
    let rss = || std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("RssAnon")).unwrap().to_string();
    let mut v = vec![];
    for round in 0..3 {
        let mut ti = 0.0; let mut to = 0.0; let mut tg = 0.0; let mut td = 0.0; let n = 200;
        for _ in 0..n {
            let t = cpu();
            let mut i = host.instantiate(grant.clone()).await.unwrap();
            ti += (cpu() - t); let t = cpu();
            let db = i.open("b.db", &OpenOptions::default()).await.unwrap();
            let d = i.dict(&db, "x").await.unwrap();
            if round == 0 { d.set(&mut i, "k", "1", None).await.unwrap(); }
            d.get(&mut i, "k").await.unwrap();
            to += (cpu() - t); let t = cpu();
            for _ in 0..10 { d.get(&mut i, "k").await.unwrap(); }
            tg += (cpu() - t) / 10.; let t = cpu();
            drop(i);
            td += (cpu() - t);
        }
        println!("inst {:.1}us open+get {:.1}us get {:.1}us drop {:.1}us", ti / n as f64 * 1e6, to / n as f64 * 1e6, tg / n as f64 * 1e6, td / n as f64 * 1e6);
    }
    println!("{}", rss());
    for k in 0..300 { let mut i = host.instantiate(grant.clone()).await.unwrap(); let db = i.open("b.db", &OpenOptions::default()).await.unwrap(); let d = i.dict(&db, "x").await.unwrap(); d.get(&mut i, "k").await.unwrap(); v.push((i, db, d)); if k == 0 || k == 99 || k==299 { println!("{k} {}", rss()); } }
    let (i, _, d) = &mut v[0];
    let t = Instant::now(); for _ in 0..2000 { d.set(i, "k", "2", None).await.unwrap(); } println!("set {:.1}us", t.elapsed().as_secs_f64() / 2000. * 1e6);
    let t = Instant::now(); for _ in 0..20000 { d.get(i, "k").await.unwrap(); } println!("get {:.2}us", t.elapsed().as_secs_f64() / 20000. * 1e6);
}
