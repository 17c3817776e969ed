//! `kubectl rex list`: lists, and with `--watch` keeps the table current.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use runner_controller::{
    client::ClientError,
    crd::RunnerExecution,
    submit::{Exit, Failure},
};

use crate::{
    cli::{List, ListForm, Scope},
    table::{Style, table},
    terminal,
};

/// How often the live table is drawn anew, so that ages are right.
const FRAME: Duration = Duration::from_millis(500);

pub(crate) async fn list(scope: &Scope, options: List) -> Result<(), Failure> {
    let opened = scope.open().await?;
    let api: Api<RunnerExecution> =
        if options.all_namespaces { Api::all(opened.client.clone()) } else { opened.api() };
    let style = Style {
        namespaces: options.all_namespaces,
        wide: options.output == Some(ListForm::Wide),
        bars: terminal::is_live(),
        width: terminal::size().map(|(columns, _)| columns),
        colour: terminal::colour(),
    };
    if options.watch {
        return watch(api, &options, style).await;
    }
    let params = ListParams { label_selector: options.selector.clone(), ..ListParams::default() };
    let place = if options.all_namespaces { "all namespaces" } else { opened.namespace.as_str() };
    let mut found = api.list(&params).await.map_err(|error| ClientError::of(error, "list", place))?.items;
    if !options.names.is_empty() {
        found.retain(|execution| options.names.contains(&execution.name_any()));
        if let Some(absent) =
            options.names.iter().find(|name| !found.iter().any(|it| it.name_any() == **name))
        {
            return Err(ClientError::Gone(absent.clone()).into());
        }
    }
    match options.output {
        None | Some(ListForm::Wide) if found.is_empty() => {
            terminal::complain(&format!("no executions in {place}"));
        }
        None | Some(ListForm::Wide) => {
            terminal::print(&(table(&found, Timestamp::now(), style).join("\n") + "\n"));
        }
        Some(form @ (ListForm::Json | ListForm::Yaml | ListForm::Name)) => {
            terminal::print(&written(found, form)?);
        }
    }
    Ok(())
}

/// The objects whole, one alone or as a List.
fn written(mut found: Vec<RunnerExecution>, form: ListForm) -> Result<String, Failure> {
    if form == ListForm::Name {
        let line = |name: String| format!("runnerexecution.core.projectvoltron.dev/{name}\n");
        return Ok(found.iter().map(|execution| line(execution.name_any())).collect::<Vec<_>>().concat());
    }
    for execution in &mut found {
        execution.metadata.managed_fields = None;
    }
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": found});
    match form {
        ListForm::Yaml => serde_yaml::to_string(&list)
            .map_err(|error| Failure { exit: Exit::NotUnderstood, words: error.to_string() }),
        ListForm::Json | ListForm::Name | ListForm::Wide => Ok(format!("{list:#}\n")),
    }
}

/// Keeps the table current: drawn anew on a terminal, else a line for each change.
async fn watch(api: Api<RunnerExecution>, options: &List, style: Style) -> Result<(), Failure> {
    let config = watcher::Config { label_selector: options.selector.clone(), ..watcher::Config::default() };
    let mut events = Box::pin(watcher(api, config).default_backoff());
    let mut known: BTreeMap<(String, String), RunnerExecution> = BTreeMap::new();
    let mut relisted = BTreeMap::new();
    let mut frames = tokio::time::interval(FRAME);
    let mut drawn = Drawn::default();
    let (mut is_listed, mut is_disturbed) = (false, false);
    loop {
        tokio::select! {
            event = events.next() => {
                let event = match event {
                    Some(Ok(event)) => event,
                    Some(Err(error)) => {
                        let error = ClientError::of_watch(error, "the namespaces asked for");
                        if !error.is_transient() {
                            return Err(error.into());
                        }
                        if !std::mem::replace(&mut is_disturbed, true) {
                            terminal::complain(&format!("{error}; trying again"));
                        }
                        continue;
                    }
                    None => return Ok(()),
                };
                match event {
                    Event::Init => relisted = BTreeMap::new(),
                    Event::InitApply(execution) if wanted(options, &execution) => {
                        relisted.insert(key(&execution), execution);
                    }
                    Event::InitDone => {
                        (is_listed, is_disturbed) = (true, false);
                        known = std::mem::take(&mut relisted);
                        if !terminal::is_live() {
                            drawn.append(known.values(), style);
                        }
                    }
                    Event::Apply(execution) if wanted(options, &execution) => {
                        if !terminal::is_live() {
                            drawn.append([&execution], style);
                        }
                        known.insert(key(&execution), execution);
                    }
                    Event::Delete(execution) => {
                        known.remove(&key(&execution));
                    }
                    Event::InitApply(_) | Event::Apply(_) => {}
                }
            }
            _ = frames.tick() => if is_listed && terminal::is_live() {
                drawn.redraw(known.values(), style);
            },
        }
    }
}

fn key(execution: &RunnerExecution) -> (String, String) {
    (execution.namespace().unwrap_or_default(), execution.name_any())
}

fn wanted(options: &List, execution: &RunnerExecution) -> bool {
    options.names.is_empty() || options.names.contains(&execution.name_any())
}

/// What has been printed so far.
#[derive(Default)]
struct Drawn {
    lines: usize,
    last: BTreeMap<(String, String), String>,
}

impl Drawn {
    /// Adds a line for each that shows something new; ages alone are nothing new.
    fn append<'a>(&mut self, executions: impl IntoIterator<Item = &'a RunnerExecution>, style: Style) {
        for execution in executions {
            let ageless = table([execution], Timestamp::UNIX_EPOCH, style).join("\n");
            if self.last.insert(key(execution), ageless.clone()) == Some(ageless) {
                continue;
            }
            let lines = table([execution], Timestamp::now(), style);
            let skipped = usize::from(self.lines > 0);
            self.lines += 1;
            let new: Vec<&str> = lines.iter().skip(skipped).map(String::as_str).collect();
            terminal::print(&(new.join("\n") + "\n"));
        }
    }

    /// Draws the whole table in the place of the last one.
    fn redraw<'a>(&mut self, executions: impl IntoIterator<Item = &'a RunnerExecution>, style: Style) {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let mut lines = table(executions, Timestamp::now(), Style { width: Some(columns - 1), ..style });
        if lines.is_empty() {
            lines.push("(no executions)".to_owned());
        }
        let hidden = lines.len().saturating_sub(rows - 1);
        if hidden > 0 {
            lines.truncate(rows - 2);
            lines.push(format!("… and {} more", hidden + 1));
        }
        let up = if self.lines > 0 { format!("\u{1b}[{}A", self.lines) } else { String::new() };
        let text = lines.join("\u{1b}[K\n");
        terminal::print(&format!("\r{up}{text}\u{1b}[K\n\u{1b}[J"));
        self.lines = lines.len();
    }
}
