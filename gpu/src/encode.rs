//! From checked values to wgpu's objects. Called inside of error scopes; nothing here judges.

use crate::adapter::Gpu;
use crate::batch::{Batch, Command};
use crate::buffer::Buffer;
use crate::kernel::{Kernel, Slot, SlotKind};
use crate::loop_budget::STATUS_GROUP;
use crate::pool::record_zeroing;
use crate::timer::Timer;

/// The word that a kernel sets when its loop budget is used up.
#[derive(Debug)]
pub(crate) struct StatusWord {
    pub raw: wgpu::Buffer,
    pub group: wgpu::BindGroup,
}

impl StatusWord {
    /// The layout of its group, one for a device.
    pub(crate) fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("status"),
            entries: &[layout_entry(
                0,
                wgpu::BufferBindingType::Storage { read_only: false },
                4,
            )],
        })
    }

    /// A zeroed one, for one session.
    pub(crate) fn new(device: &wgpu::Device, layout: &wgpu::BindGroupLayout) -> Self {
        let raw = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("status"),
            size: 4,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("status"),
            layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: raw.as_entire_binding(),
            }],
        });
        Self { raw, group }
    }
}

/// A guest's buffer. wgpu zeroes it before anybody can read it.
pub(crate) fn buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn layout_entry(
    binding: u32,
    ty: wgpu::BufferBindingType,
    min_bytes: u64,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: std::num::NonZeroU64::new(min_bytes),
        },
        count: None,
    }
}

/// A pipeline and the layout of its group 0.
pub(crate) fn pipeline(
    gpu: &Gpu,
    module: naga::Module,
    entry: &str,
    slots: &[Slot],
    has_loops: bool,
) -> (wgpu::BindGroupLayout, wgpu::ComputePipeline) {
    let device = &gpu.device;
    let entries: Vec<_> = (0u32..)
        .zip(slots)
        .filter_map(|(binding, slot)| {
            let ty = match slot.kind {
                SlotKind::Unused => return None,
                SlotKind::Uniform => wgpu::BufferBindingType::Uniform,
                SlotKind::StorageRead => wgpu::BufferBindingType::Storage { read_only: true },
                SlotKind::StorageReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
            };
            Some(layout_entry(binding, ty, slot.min_bytes))
        })
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    });
    let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
    });
    // A kernel without buffers has no group 0, so none is made for its dispatches.
    let groups = [
        (!slots.is_empty()).then_some(&layout),
        Some(&gpu.status_layout),
    ];
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: match (has_loops, slots.is_empty()) {
            (true, _) => &groups,
            (false, false) => &groups[..1],
            (false, true) => &[],
        },
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&pipeline_layout),
        module: &shader,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[], // resolved before
            zero_initialize_workgroup_memory: true,
        },
        cache: None,
    });
    (layout, pipeline)
}

/// Records a batch: a compute pass for each run of dispatches between copies. Before all of it, `stale` buffers are zeroed.
pub(crate) fn batch(
    gpu: &Gpu,
    batch: &Batch,
    status: &wgpu::BindGroup,
    timer: Option<&Timer>,
    stale: &[wgpu::Buffer],
) -> wgpu::CommandEncoder {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    record_zeroing(&mut encoder, stale);
    if let Some(timer) = timer {
        timer.begin(&mut encoder);
    }
    let is_copy = |command: &Command| matches!(command, Command::Copy { .. });
    for run in batch.commands.chunk_by(|a, b| is_copy(a) == is_copy(b)) {
        let mut pass = match run.first() {
            Some(Command::Dispatch { .. }) => Some(
                encoder
                    .begin_compute_pass(&Default::default())
                    .forget_lifetime(),
            ),
            _ => None,
        };
        // The kernel that is set, whose status group stays.
        let mut set: Option<&Kernel> = None;
        for command in run {
            match (command, &mut pass) {
                (
                    Command::Dispatch {
                        kernel,
                        bindings,
                        groups,
                    },
                    Some(pass),
                ) => {
                    let compiled = &kernel.0.compiled;
                    if !set.is_some_and(|set| set.is(kernel)) {
                        pass.set_pipeline(&compiled.pipeline);
                        if compiled.has_loops {
                            pass.set_bind_group(STATUS_GROUP, status, &[]);
                        }
                        set = Some(kernel);
                    }
                    if !compiled.slots.is_empty() {
                        pass.set_bind_group(0, &bind(gpu, kernel, bindings), &[]);
                    }
                    pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
                }
                (
                    Command::Copy {
                        src,
                        src_offset,
                        dst,
                        dst_offset,
                        len,
                    },
                    _,
                ) if *len > 0 => {
                    encoder.copy_buffer_to_buffer(
                        &src.0.raw,
                        *src_offset,
                        &dst.0.raw,
                        *dst_offset,
                        *len,
                    );
                }
                _ => {}
            }
        }
    }
    if let Some(timer) = timer {
        timer.end(&mut encoder);
    }
    encoder
}

fn bind(gpu: &Gpu, kernel: &Kernel, bindings: &[Buffer]) -> wgpu::BindGroup {
    let entries: Vec<_> = (0u32..)
        .zip(kernel.0.compiled.slots.iter().zip(bindings))
        .filter(|(_, (slot, _))| slot.kind != SlotKind::Unused)
        .map(|(binding, (slot, buffer))| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffer.0.raw,
                offset: 0,
                size: std::num::NonZeroU64::new(slot.bound_bytes(buffer.size())),
            }),
        })
        .collect();
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &kernel.0.compiled.layout,
        entries: &entries,
    })
}
