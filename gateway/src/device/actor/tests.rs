//! An actor from its first connection to its end.

use actix_rt::System;

use super::*;

#[test]
fn an_actor_without_a_session_ends_and_leaves_nothing() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    System::with_tokio_rt(runtime).block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (context, actors) = (session::Context::testing(folder.path()), Rc::<Actors>::default());
        let name = Name::new("press").unwrap();
        let first = actors.get(&name, 4, &context);
        tokio::time::sleep(IDLE / 2).await;
        assert!(first.connected() && actors.get(&name, 4, &context) == first);
        tokio::time::sleep(IDLE).await;
        assert!(!first.connected() && actors.is_empty());
        assert!(actors.get(&name, 4, &context).connected());
    });
}
