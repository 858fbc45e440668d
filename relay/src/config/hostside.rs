//! `tollgate.toml`, judged by itself: what it comes to, and what tenants are judged by.

use super::assemble::{self, Assembled, Ground};
use super::disk::{Content, Print};
use super::host::{self, HostDraft, ListenerDraft};
use super::problem::{Problem, Problems};
use super::source::{Layout, Source};
use super::version::{Sum, sum};
use super::{Certificate, Lines, Loaded, Records};
use b2bua::plan::Plan;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// One version of the host's file, with the files it names as they were.
#[derive(Debug)]
pub(crate) struct HostSide {
    pub(crate) text: Arc<str>,
    pub(crate) sum: Sum,
    draft: HostDraft,
    assembled: Assembled,
    /// How the files that it names looked.
    named: Vec<Option<Print>>,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl HostSide {
    /// Judges the host's file, and reads what it names.
    pub(crate) fn judge(
        layout: &Layout,
        content: Content,
        before: Option<&Self>,
        now: SystemTime,
    ) -> Self {
        let problems = Problems::default();
        let file = problems.add_file(&layout.host);
        let (text, sum, unreadable) = match content.text {
            Ok((text, sum)) => (text, sum, None),
            Err(problem) => (Arc::from(""), sum(""), Some(problem)),
        };
        let draft = match &unreadable {
            None => host::read(&Source::new(file, String::from(&*text)), &problems),
            // Without the host's file no name in a tenant's file can be judged.
            Some(_) => HostDraft { damaged: true, ..HostDraft::default() },
        };
        // Before they are read: a change while that is done is one more change.
        let named = draft.named(&layout.directory).into_iter();
        let named = named.map(|file| Print::now(&file, now)).collect();
        let before = before.map(|before| &before.assembled);
        let assembled = assemble::host(&layout.directory, &draft, before, now, &problems);
        let (mut errors, mut warnings) = problems.into_lists();
        let broken = assembled.certificates.broken.iter();
        warnings.extend(broken.map(|(_, problem)| problem.clone()));
        errors.splice(0..0, unreadable);
        Self { text, sum, draft, assembled, named, errors, warnings }
    }

    /// What tenants are judged by.
    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground::new(&self.draft, &self.assembled)
    }

    /// The plan without tenants; `None` if the file does not hold.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.assembled.plan.as_ref().filter(|_| self.errors.is_empty())
    }

    /// Whether it says the same, and the files it names are as they were.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let files = || self.named.iter().zip(&other.named);
        let same = |(one, two): (&Option<Print>, &Option<Print>)| match (one, two) {
            (Some(one), Some(two)) => one.same(two),
            (one, two) => one.is_none() == two.is_none(),
        };
        self.sum == other.sum && self.named.len() == other.named.len() && files().all(same)
    }

    /// Whether what holds on one holds on the other.
    pub(crate) fn same_ground(&self, other: &Self) -> bool {
        let names = |side: &Self| -> Vec<(String, Vec<String>)> {
            let certificates = side.assembled.certificates.all();
            certificates.map(|one| (one.name.clone(), one.identity.names().to_vec())).collect()
        };
        self.sum == other.sum && names(self) == names(other)
    }

    /// Files besides the configuration that its meaning depends on.
    pub(crate) fn named(&self, layout: &Layout) -> Vec<PathBuf> {
        self.draft.named(&layout.directory)
    }

    /// What the daemon needs, with this plan; `None` if the file does not hold.
    pub(crate) fn loaded(&self, layout: &Layout, plan: Plan) -> Option<Loaded> {
        let host = &self.draft;
        let certificates: Option<Vec<Vec<Certificate>>> =
            self.assembled.certificates.tables.iter().cloned().collect();
        let directory = &layout.directory;
        Some(Loaded {
            plan,
            certificates: certificates?.into_iter().flatten().collect(),
            identities: self.assembled.identities.clone(),
            broken_certificates: self.assembled.certificates.broken.clone(),
            acme: self.assembled.acme.clone(),
            admin_socket: directory.join(&host.socket),
            metrics: host.metrics?,
            media_engine: host.engine,
            media_offload: host.offload,
            records: host
                .records
                .clone()
                .map(|records| Records { file: directory.join(&records.file), ..records }),
            log: host.log,
            state: directory.join(&host.state),
            warnings: self.warnings.clone(),
            broken: Vec::new(),
            named: self.named(layout),
            lines: Lines {
                file: layout.host.clone(),
                admin: host.lines.admin.line,
                metrics: host.lines.metrics.line,
                media: host.lines.media.line,
                engine: host.lines.engine.line,
                log: host.lines.log.line,
                state: host.lines.state.line,
                listeners: host.listeners.iter().filter_map(bound_at).collect(),
            },
        })
    }
}

/// The name of a listener, and the line on which it says what it binds.
fn bound_at(listener: &ListenerDraft) -> Option<(String, u32)> {
    Some((listener.name.as_ref()?.value.clone(), listener.bind.as_ref()?.place.line))
}
