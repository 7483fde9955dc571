//! Every layout and number of the ABI against Xen's own headers, by a C compiler.
#![cfg(not(xenlet = "unix"))]

mod headers;

use headers::{assert_equal, check, compile, find};
use std::mem::{offset_of, size_of};
use xenlet_kernel::abi::{console, grant_table, memory, ring, xenbus, xs_wire};

const INCLUDES: &str = "
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/elfnote.h>
#include <xen/io/ring.h>
#include <xen/io/console.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>
struct slot { uint32_t a; };
DEFINE_RING_TYPES(probe, struct slot, struct slot);
";

macro_rules! layouts {
    ($out:expr; $($c:literal = $ty:ty { $($c_field:literal = $field:ident),* $(,)? })*) => {
        $(
            assert_equal($out, &format!("sizeof({})", $c), size_of::<$ty>() as u64);
            $(assert_equal($out, &format!("offsetof({}, {})", $c, $c_field), offset_of!($ty, $field) as u64);)*
        )*
    };
}

fn program() -> String {
    let mut out = String::from(INCLUDES);
    let o = &mut out;
    layouts!(o;
        "struct xencons_interface" = console::Interface {
            "in" = input, "out" = output, "in_cons" = in_cons, "in_prod" = in_prod,
            "out_cons" = out_cons, "out_prod" = out_prod
        }
        "struct xenstore_domain_interface" = xs_wire::DomainInterface {
            "req" = req, "rsp" = rsp, "req_cons" = req_cons, "req_prod" = req_prod,
            "rsp_cons" = rsp_cons, "rsp_prod" = rsp_prod,
            "server_features" = server_features, "connection" = connection, "error" = error
        }
        "struct xsd_sockmsg" = xs_wire::Head { "type" = ty, "req_id" = req_id, "tx_id" = tx_id, "len" = len }
        "struct grant_entry_v1" = grant_table::EntryV1 { "flags" = flags, "domid" = domid, "frame" = frame }
        "struct gnttab_setup_table" = grant_table::SetupTable {
            "dom" = dom, "nr_frames" = nr_frames, "status" = status, "frame_list" = frame_list
        }
        "struct xen_memory_reservation" = memory::Reservation {
            "extent_start" = extent_start, "nr_extents" = nr_extents, "extent_order" = extent_order,
            "mem_flags" = mem_flags, "domid" = domid
        }
        "struct start_info" = xen_sys::start_info {
            "magic" = magic, "nr_pages" = nr_pages, "shared_info" = shared_info, "flags" = flags,
            "store_mfn" = store_mfn, "store_evtchn" = store_evtchn, "console" = console, "pt_base" = pt_base,
            "nr_pt_frames" = nr_pt_frames, "mfn_list" = mfn_list, "mod_start" = mod_start, "mod_len" = mod_len,
            "cmd_line" = cmd_line, "first_p2m_pfn" = first_p2m_pfn, "nr_p2m_frames" = nr_p2m_frames
        }
        "struct shared_info" = xen_sys::shared_info {
            "vcpu_info" = vcpu_info, "evtchn_pending" = evtchn_pending, "evtchn_mask" = evtchn_mask,
            "wc_version" = wc_version, "wc_sec" = wc_sec, "wc_nsec" = wc_nsec, "wc_sec_hi" = wc_sec_hi, "arch" = arch
        }
        "struct vcpu_info" = xen_sys::vcpu_info { "arch" = arch, "time" = time }
        "struct vcpu_time_info" = xen_sys::vcpu_time_info {
            "version" = version, "tsc_timestamp" = tsc_timestamp, "system_time" = system_time,
            "tsc_to_system_mul" = tsc_to_system_mul, "tsc_shift" = tsc_shift
        }
        "struct arch_vcpu_info" = xen_sys::arch_vcpu_info { "cr2" = cr2 }
        "struct trap_info" = xen_sys::trap_info {
            "vector" = vector, "flags" = flags, "cs" = cs, "address" = address
        }
        "struct mmu_update" = xen_sys::mmu_update { "ptr" = ptr, "val" = val }
        "struct sched_poll" = xen_sys::sched_poll { "ports" = ports, "nr_ports" = nr_ports, "timeout" = timeout }
        "struct sched_shutdown" = xen_sys::sched_shutdown { "reason" = reason }
        "struct evtchn_alloc_unbound" = xen_sys::evtchn_alloc_unbound {
            "dom" = dom, "remote_dom" = remote_dom, "port" = port
        }
        "struct evtchn_send" = xen_sys::evtchn_send { "port" = port }
        "struct evtchn_close" = xen_sys::evtchn_close { "port" = port }
    );
    assert_equal(o, "sizeof(struct mmuext_op)", 24);
    assert_equal(
        o,
        "offsetof(struct probe_sring, req_prod)",
        ring::REQ_PROD as u64,
    );
    assert_equal(
        o,
        "offsetof(struct probe_sring, req_event)",
        ring::REQ_EVENT as u64,
    );
    assert_equal(
        o,
        "offsetof(struct probe_sring, rsp_prod)",
        ring::RSP_PROD as u64,
    );
    assert_equal(
        o,
        "offsetof(struct probe_sring, rsp_event)",
        ring::RSP_EVENT as u64,
    );
    assert_equal(o, "offsetof(struct probe_sring, ring)", ring::SLOTS as u64);
    for (c, ours) in [
        ("XENSTORE_RING_SIZE", xs_wire::RING_SIZE as u64),
        ("XENSTORE_PAYLOAD_MAX", xs_wire::PAYLOAD_MAX as u64),
        ("XENSTORE_ABS_PATH_MAX", xs_wire::ABS_PATH_MAX as u64),
        ("XS_DIRECTORY", xs_wire::Type::Directory as u64),
        ("XS_READ", xs_wire::Type::Read as u64),
        ("XS_WATCH", xs_wire::Type::Watch as u64),
        ("XS_UNWATCH", xs_wire::Type::Unwatch as u64),
        (
            "XS_TRANSACTION_START",
            xs_wire::Type::TransactionStart as u64,
        ),
        ("XS_TRANSACTION_END", xs_wire::Type::TransactionEnd as u64),
        ("XS_WRITE", xs_wire::Type::Write as u64),
        ("XS_MKDIR", xs_wire::Type::Mkdir as u64),
        ("XS_RM", xs_wire::Type::Rm as u64),
        ("XS_WATCH_EVENT", xs_wire::Type::WatchEvent as u64),
        ("XS_ERROR", xs_wire::Type::Error as u64),
        ("XenbusStateUnknown", xenbus::State::Unknown as u64),
        (
            "XenbusStateInitialising",
            xenbus::State::Initialising as u64,
        ),
        ("XenbusStateInitWait", xenbus::State::InitWait as u64),
        ("XenbusStateInitialised", xenbus::State::Initialised as u64),
        ("XenbusStateConnected", xenbus::State::Connected as u64),
        ("XenbusStateClosing", xenbus::State::Closing as u64),
        ("XenbusStateClosed", xenbus::State::Closed as u64),
        (
            "XenbusStateReconfiguring",
            xenbus::State::Reconfiguring as u64,
        ),
        (
            "XenbusStateReconfigured",
            xenbus::State::Reconfigured as u64,
        ),
        ("GTF_permit_access", grant_table::PERMIT_ACCESS.into()),
        ("GTF_readonly", grant_table::READONLY.into()),
        ("GTF_reading", grant_table::READING.into()),
        ("GTF_writing", grant_table::WRITING.into()),
        (
            "GNTTAB_NR_RESERVED_ENTRIES",
            grant_table::RESERVED_ENTRIES.into(),
        ),
        ("GNTTABOP_setup_table", grant_table::OP_SETUP_TABLE.into()),
        (
            "4096 / sizeof(struct grant_entry_v1)",
            grant_table::ENTRIES_PER_FRAME.into(),
        ),
        (
            "XENMEM_decrease_reservation",
            memory::OP_DECREASE_RESERVATION.into(),
        ),
        (
            "XENMEM_populate_physmap",
            memory::OP_POPULATE_PHYSMAP.into(),
        ),
        (
            "__HYPERVISOR_memory_op",
            xen_sys::__HYPERVISOR_memory_op.into(),
        ),
        ("DOMID_SELF", 0x7ff0),
        ("UVMF_INVLPG", 2),
        ("VCPUOP_stop_periodic_timer", 7),
        ("CONSOLEIO_write", 0),
        ("FLAT_KERNEL_CS64", 0xe033),
        ("__MACH2PHYS_VIRT_START", 0xffff_8000_0000_0000),
        ("XEN_ELFNOTE_ENTRY", 1),
        ("XEN_ELFNOTE_HYPERCALL_PAGE", 2),
        ("XEN_ELFNOTE_VIRT_BASE", 3),
        ("XEN_ELFNOTE_PADDR_OFFSET", 4),
        ("XEN_ELFNOTE_XEN_VERSION", 5),
        ("XEN_ELFNOTE_GUEST_OS", 6),
        ("XEN_ELFNOTE_LOADER", 8),
        ("XEN_ELFNOTE_PAE_MODE", 9),
        ("XEN_ELFNOTE_FEATURES", 10),
        (
            "__HYPERVISOR_set_trap_table",
            xen_sys::__HYPERVISOR_set_trap_table.into(),
        ),
        (
            "__HYPERVISOR_mmu_update",
            xen_sys::__HYPERVISOR_mmu_update.into(),
        ),
        (
            "__HYPERVISOR_update_va_mapping",
            xen_sys::__HYPERVISOR_update_va_mapping.into(),
        ),
        (
            "__HYPERVISOR_mmuext_op",
            xen_sys::__HYPERVISOR_mmuext_op.into(),
        ),
        (
            "__HYPERVISOR_event_channel_op",
            xen_sys::__HYPERVISOR_event_channel_op.into(),
        ),
        (
            "__HYPERVISOR_sched_op",
            xen_sys::__HYPERVISOR_sched_op.into(),
        ),
        ("__HYPERVISOR_vcpu_op", xen_sys::__HYPERVISOR_vcpu_op.into()),
        (
            "__HYPERVISOR_console_io",
            xen_sys::__HYPERVISOR_console_io.into(),
        ),
        (
            "__HYPERVISOR_grant_table_op",
            xen_sys::__HYPERVISOR_grant_table_op.into(),
        ),
        (
            "EVTCHNOP_alloc_unbound",
            xen_sys::EVTCHNOP_alloc_unbound.into(),
        ),
        ("EVTCHNOP_send", xen_sys::EVTCHNOP_send.into()),
        ("EVTCHNOP_close", xen_sys::EVTCHNOP_close.into()),
        ("SCHEDOP_poll", xen_sys::SCHEDOP_poll.into()),
        ("SCHEDOP_shutdown", xen_sys::SCHEDOP_shutdown.into()),
        ("SHUTDOWN_poweroff", xen_sys::SHUTDOWN_poweroff.into()),
        ("SHUTDOWN_reboot", xen_sys::SHUTDOWN_reboot.into()),
        ("SHUTDOWN_crash", xen_sys::SHUTDOWN_crash.into()),
        (
            "MMUEXT_TLB_FLUSH_LOCAL",
            xen_sys::MMUEXT_TLB_FLUSH_LOCAL.into(),
        ),
    ] {
        assert_equal(o, c, ours);
    }
    out
}

#[test]
fn the_abi_is_that_of_the_headers() {
    check(&program());
}

#[test]
fn a_wrong_number_is_found() {
    let Some(dir) = find() else { return };
    let mut wrong = String::from(INCLUDES);
    assert_equal(&mut wrong, "sizeof(struct start_info)", 1);
    assert!(compile(&dir, &wrong).is_err_and(|said| said.contains("is not 1")));
}
