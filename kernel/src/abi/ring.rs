//! The head of a shared ring page (`xen/io/ring.h`, `DEFINE_RING_TYPES`).
//!
//! ```text
//!   0         4          8         12         16                 64
//!   ┌─────────┬──────────┬─────────┬──────────┬──────────────────┬────────┬────────┬──
//!   │req_prod │req_event │rsp_prod │rsp_event │ unused           │ slot 0 │ slot 1 │ …
//!   └─────────┴──────────┴─────────┴──────────┴──────────────────┴────────┴────────┴──
//! ```

/// Requests written by the frontend.
pub const REQ_PROD: usize = 0;
/// The backend asks for an event when `req_prod` passes this.
pub const REQ_EVENT: usize = 4;
/// Responses written by the backend.
pub const RSP_PROD: usize = 8;
/// The frontend asks for an event when `rsp_prod` passes this.
pub const RSP_EVENT: usize = 12;
/// Where the slots begin.
pub const SLOTS: usize = 64;
