//! Dialogs made from literal messages.
