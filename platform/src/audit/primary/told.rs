//! Commands that one event, or it and a key, tells in full.

use super::Primary;
use crate::{
    command::{AddKey, Command, OpenAccount, RegisterContent, RegisterModule, RegisterNode},
    event::{
        AccountOpened, AssignmentCheckpointed, AssignmentFailed, AssignmentProgressed,
        AssignmentReturned, AssignmentStarted, ContentRegistered, ContentTermsChanged, KeyAdded,
        ModuleRegistered, NodeRegistered, OutputUploaded,
    },
    ids::{AccountId, NodeId},
};

pub(super) fn opening(e: &AccountOpened, key: &KeyAdded) -> Command {
    Command::OpenAccount(OpenAccount {
        name: e.name.clone(),
        key_hash: key.hash,
        scopes: key.scopes.clone(),
    })
}

pub(super) fn adding(e: &KeyAdded) -> Command {
    Command::AddKey(AddKey {
        account: e.account,
        label: e.label.clone(),
        hash: e.hash,
        scopes: e.scopes.clone(),
    })
}

pub(super) fn module(e: &ModuleRegistered) -> Command {
    Command::RegisterModule(RegisterModule {
        owner: e.owner,
        name: e.name.clone(),
        blob: e.blob,
        world: e.world,
        imports: e.imports.clone(),
        compile_mib: e.compile_mib,
        code_mib: e.code_mib,
    })
}

pub(super) fn content(e: &ContentRegistered) -> Command {
    Command::RegisterContent(RegisterContent {
        owner: e.owner,
        kind: e.kind,
        name: e.name.clone(),
        version: e.version.clone(),
        files: e.files.clone(),
        licence: e.licence.clone(),
        weight: e.weight,
        price: e.price,
        access: e.access.clone(),
        contributors: e.contributors.clone(),
    })
}

pub(super) fn content_terms(e: &ContentTermsChanged, owner: AccountId) -> Command {
    Command::ChangeContentTerms {
        owner,
        content: e.content,
        price: e.price,
        access: e.access.clone(),
    }
}

pub(super) fn joining(e: &NodeRegistered, key: &KeyAdded) -> Command {
    Command::RegisterNode(RegisterNode {
        token_hash: e.token_hash,
        public_key: e.public_key,
        key_hash: key.hash,
        profile: e.profile.clone(),
    })
}

pub(super) fn starting<'a>(e: &AssignmentStarted, node: NodeId) -> Primary<'a> {
    Primary::command(Command::Start {
        node,
        assignment: e.assignment,
    })
}

pub(super) fn progress<'a>(e: &AssignmentProgressed, node: NodeId) -> Primary<'a> {
    Primary::command(Command::ReportProgress {
        node,
        assignment: e.assignment,
        ppm: e.ppm,
        note: e.note.clone(),
    })
}

pub(super) fn checkpoint<'a>(e: &AssignmentCheckpointed, node: NodeId) -> Primary<'a> {
    Primary::command(Command::SaveCheckpoint {
        node,
        assignment: e.assignment,
        checkpoint: e.checkpoint,
    })
}

pub(super) fn output<'a>(e: &OutputUploaded, node: NodeId) -> Primary<'a> {
    Primary::command(Command::RecordOutput {
        node,
        assignment: e.assignment,
        blob: e.blob,
    })
}

pub(super) fn giving_back<'a>(e: &AssignmentReturned, node: NodeId) -> Primary<'a> {
    Primary::command(Command::GiveBack {
        node,
        assignment: e.assignment,
    })
}

pub(super) fn failure<'a>(e: &AssignmentFailed, node: NodeId) -> Primary<'a> {
    Primary::command(Command::Fail {
        node,
        assignment: e.assignment,
        class: e.class,
        message: e.message.clone(),
    })
}
