//! What is noticed, and what is not. Real files and a real clock: the kernel's events have no other.

use super::*;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tollgate-watch-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.path("etc/tenants.d")).unwrap();
        folder.write("etc/tollgate.toml");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str) {
        fs::write(self.path(name), "text").unwrap();
    }

    fn places(&self) -> Places {
        let etc = self.path("etc");
        Places::find(&etc.join("tollgate.toml"), &etc.join("tenants.d"), &[self.path("wild.pem")])
    }

    /// A watch that has told already of what was there before.
    async fn watch(&self) -> Watch {
        let mut watch = Watch::new(self.places());
        assert_eq!(told(&mut watch).await, "everything");
        watch
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Only a test that fails waits for so long; below it everything is looked at anyway.
const LONG: Duration = Duration::from_secs(8);
/// Longer than files that come together are gathered, shorter than deletions are waited for.
const SHORT: Duration = Duration::from_millis(150);

async fn told(watch: &mut Watch) -> String {
    within(watch, LONG).await
}

/// Nothing is told of what went at this time before that is believed. Says whether it still is to be told: on a
/// busy machine its time may have come.
async fn not_yet(watch: &mut Watch, went: Instant) -> bool {
    let said = within(watch, SHORT).await;
    assert!(said == "nothing" || went.elapsed() >= GONE_AFTER, "{said}");
    said == "nothing"
}

async fn within(watch: &mut Watch, time: Duration) -> String {
    match tokio::time::timeout(time, watch.next()).await {
        Err(_) => "nothing".into(),
        Ok(Scope { tenants: None, .. }) => "everything".into(),
        Ok(Scope { host, tenants: Some(tenants), .. }) => {
            let mut words: Vec<String> = tenants.into_iter().collect();
            words.extend(host.then(|| "[host]".into()));
            words.join(" ")
        }
    }
}

#[tokio::test]
async fn a_file_counts_when_it_is_closed_or_renamed_into_place() {
    let folder = Folder::new();
    let mut watch = folder.watch().await;
    let mut file = File::create(folder.path("etc/tenants.d/a.toml")).unwrap();
    file.write_all(b"half").unwrap();
    file.flush().unwrap();
    assert_eq!(within(&mut watch, SHORT).await, "nothing", "it is being written");
    assert_eq!(watch.held(), [folder.path("etc/tenants.d/a.toml")].into_iter().collect());
    drop(file);
    assert_eq!(told(&mut watch).await, "a");
    assert!(watch.held().is_empty());

    folder.write("etc/tenants.d/.b.toml.new");
    assert_eq!(within(&mut watch, SHORT).await, "nothing", "hidden");
    fs::rename(folder.path("etc/tenants.d/.b.toml.new"), folder.path("etc/tenants.d/b.toml"))
        .unwrap();
    folder.write("etc/tollgate.toml");
    assert_eq!(told(&mut watch).await, "b [host]", "what comes together is told together");
    folder.write("etc/tenants.d/a.toml~");
    folder.write("etc/tenants.d/README");
    assert_eq!(within(&mut watch, SHORT).await, "nothing");
}

#[tokio::test]
async fn a_file_that_was_written_without_a_name_is_whole_when_it_gets_one() {
    let folder = Folder::new();
    let mut watch = folder.watch().await;
    // As the kernel tells of linkat(2): it comes into being with all that it says, and is not closed.
    folder.write("etc/.a");
    let event = Event {
        wd: watch.folders.iter().find(|(_, it)| it.ends_with("tenants.d")).unwrap().0.clone(),
        mask: EventMask::CREATE,
        cookie: 0,
        name: Some(OsString::from("a.toml")),
    };
    fs::rename(folder.path("etc/.a"), folder.path("etc/tenants.d/.a")).unwrap();
    assert_eq!(within(&mut watch, SHORT).await, "nothing");
    fs::rename(folder.path("etc/tenants.d/.a"), folder.path("etc/tenants.d/a.toml")).unwrap();
    assert_eq!(told(&mut watch).await, "a");
    watch.event(&event);
    assert!(watch.held().is_empty());
    assert_eq!(told(&mut watch).await, "a");
}

#[tokio::test]
async fn a_file_that_is_renamed_while_it_is_open_counts_when_it_is_closed() {
    let folder = Folder::new();
    let mut watch = folder.watch().await;
    let mut file = File::create(folder.path("etc/tenants.d/.a")).unwrap();
    file.write_all(b"half").unwrap();
    fs::rename(folder.path("etc/tenants.d/.a"), folder.path("etc/tenants.d/a.toml")).unwrap();
    assert_eq!(within(&mut watch, SHORT).await, "nothing");
    file.write_all(b"whole").unwrap();
    drop(file);
    assert_eq!(told(&mut watch).await, "a");
}

#[tokio::test]
async fn a_file_that_an_editor_takes_away_for_a_moment_is_not_gone() {
    let folder = Folder::new();
    folder.write("etc/tenants.d/a.toml");
    let mut watch = folder.watch().await;
    let went = clock::now().mono;
    fs::rename(folder.path("etc/tenants.d/a.toml"), folder.path("etc/tenants.d/a.toml~")).unwrap();
    not_yet(&mut watch, went).await;
    folder.write("etc/tenants.d/a.toml");
    assert_eq!(told(&mut watch).await, "a");
    let went = clock::now().mono;
    fs::remove_file(folder.path("etc/tenants.d/a.toml")).unwrap();
    if not_yet(&mut watch, went).await {
        assert_eq!(told(&mut watch).await, "a", "now it is");
    }
}

#[tokio::test]
async fn a_link_that_is_swapped_on_the_way_to_the_files_is_noticed() {
    let folder = Folder::new();
    for release in ["one", "two"] {
        fs::create_dir_all(folder.path(release)).unwrap();
        folder.write(&format!("{release}/a.toml"));
    }
    // As Kubernetes does it: every file leads through one link.
    symlink("one", folder.path("etc/tenants.d/..data")).unwrap();
    fs::remove_file(folder.path("etc/tenants.d/..data")).unwrap();
    symlink("../../one", folder.path("etc/tenants.d/..data")).unwrap();
    symlink("..data/a.toml", folder.path("etc/tenants.d/a.toml")).unwrap();
    let mut watch = folder.watch().await;
    folder.write("one/a.toml");
    assert_eq!(told(&mut watch).await, "a", "behind two links");
    symlink("../../two", folder.path("etc/tenants.d/..new")).unwrap();
    fs::rename(folder.path("etc/tenants.d/..new"), folder.path("etc/tenants.d/..data")).unwrap();
    assert_eq!(told(&mut watch).await, "everything");
    watch.follow(folder.places());
    assert_eq!(told(&mut watch).await, "everything", "a folder is new");
    folder.write("two/a.toml");
    assert_eq!(told(&mut watch).await, "a");

    // The tenant's own link.
    symlink("../../one/a.toml", folder.path("etc/tenants.d/.new")).unwrap();
    fs::rename(folder.path("etc/tenants.d/.new"), folder.path("etc/tenants.d/a.toml")).unwrap();
    assert_eq!(told(&mut watch).await, "a");
}

#[tokio::test]
async fn a_whole_directory_that_is_replaced_and_a_file_that_is_named_are_noticed() {
    let folder = Folder::new();
    let mut watch = folder.watch().await;
    folder.write("wild.pem");
    assert_eq!(told(&mut watch).await, "[host]");
    fs::create_dir_all(folder.path("new/tenants.d")).unwrap();
    fs::write(folder.path("new/tollgate.toml"), "").unwrap();
    fs::rename(folder.path("etc"), folder.path("old")).unwrap();
    fs::rename(folder.path("new"), folder.path("etc")).unwrap();
    assert_eq!(told(&mut watch).await, "everything");
    watch.follow(folder.places());
    assert_eq!(told(&mut watch).await, "everything");
    folder.write("etc/tenants.d/b.toml");
    assert_eq!(told(&mut watch).await, "b");
}
