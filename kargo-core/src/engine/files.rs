//! The workspaces of promotions under way: kept while the engine drives, and made again by the steps that made them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::step::StepCall;
use crate::error::Result;
use crate::name::PromotionId;
use crate::plugin::Context;
use crate::promotion::PromotionInfo;
use crate::workspace::{Tree, Workspace};

/// The workspace of one promotion.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// What the steps before the one at `before` have left.
    tree: Tree,
    before: usize,
    /// The same after the step at `before` has said that it succeeded. Whether the journal has that shows when the next one is called.
    after: Option<Tree>,
}

/// The workspaces by promotion.
#[derive(Debug, Default)]
pub(super) struct Workspaces(HashMap<PromotionId, Files>);

impl Workspaces {
    pub(super) fn of(&mut self, promotion: &PromotionId) -> Files {
        self.0.entry(promotion.clone()).or_default().clone()
    }

    /// The promotion has ended.
    pub(super) fn forget(&mut self, promotion: &PromotionId) {
        self.0.remove(promotion);
    }

    /// Another engine may work on the promotions now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A step that has succeeded, and what it put out.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) call: StepCall,
    /// Its key.
    pub(super) key: String,
    pub(super) outputs: Map<String, Value>,
    /// A digest of the configuration that it did so with.
    pub(super) config_digest: Option<String>,
}

impl Earlier {
    /// Has the step do again what it did.
    async fn restore(&self, cx: &Context, info: &PromotionInfo, workspace: &Workspace) -> Result<()> {
        let cx = cx.clone().with_key(self.key.as_str());
        self.call.restore(&cx, info, (&self.outputs, self.config_digest.as_deref()), workspace).await
    }
}

impl Files {
    /// Calls the step at `index` with the workspace as the steps before it left it, whatever an earlier call of it has done there. What it
    /// leaves itself counts when `keeps` says so of its answer.
    pub(super) async fn during<T>(
        &self,
        (cx, info, index): (&Context, &PromotionInfo, usize),
        earlier: &[Earlier],
        keeps: impl Fn(&T) -> bool,
        call: impl AsyncFnOnce(Workspace) -> Result<T>,
    ) -> Result<T> {
        // Held by the one call that there is; one that was dropped has let it go.
        let mut kept = self.0.lock().await;
        let left = kept.after.take();
        // Only when the journal has it as succeeded: its answer may have been refused, for being too large for instance.
        if let (true, Some(left)) = (earlier.iter().any(|one| one.call.index == kept.before), left) {
            kept.tree = left;
            kept.before += 1;
        }
        if kept.before > index {
            // The answer of a step was lost between its call and the journal, twice over.
            *kept = Kept::default();
        }
        let workspace = Workspace::new();
        workspace.reset(kept.tree.clone()).await;
        let from = kept.before;
        for one in earlier.iter().filter(|one| (from..index).contains(&one.call.index)) {
            cx.progress(format_args!("bringing back what step {} did to the workspace", one.call.alias));
            one.restore(cx, info, &workspace).await?;
            // The next call goes on from here, should the time of this one be over.
            kept.tree = workspace.snapshot().await;
            kept.before = one.call.index + 1;
        }
        kept.before = index;
        let answer = call(workspace.clone()).await?;
        if keeps(&answer) {
            kept.after = Some(workspace.snapshot().await);
        }
        Ok(answer)
    }
}
