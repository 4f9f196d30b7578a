//! The native side: the same plan, with the same instrumented kernels, on wgpu as a program would use it that trusts itself.
//! Pipelines and bind groups are made once; a computation is one submission, with the copy for reading back in it, and one wait.

use std::time::Instant;

use aevir_gpu::{Constant, GpuLimits, kernel::instrument, loop_budget::STATUS_GROUP};
use anyhow::{Context, Result, anyhow};

use super::buffers::{BUFFERS, EXPECTED};
use super::plan::{self, Plan};

/// A plan's objects.
pub(super) struct Native<'a> {
    plan: &'a Plan,
    device: wgpu::Device,
    queue: wgpu::Queue,
    buffers: Vec<wgpu::Buffer>,
    steps: Vec<Step>,
    status: wgpu::BindGroup,
    staging: wgpu::Buffer,
}

struct Step {
    pipeline: wgpu::ComputePipeline,
    group: Option<wgpu::BindGroup>,
    has_loops: bool,
    groups: [u32; 3],
}

struct Made {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    has_loops: bool,
}

impl<'a> Native<'a> {
    pub(super) fn open(plan: &'a Plan) -> Result<Self> {
        let (device, queue) = device(plan)?;
        let status_layout = layout(
            &device,
            &[wgpu::BufferBindingType::Storage { read_only: false }],
        );
        let status_word = buffer(&device, 4, wgpu::BufferUsages::STORAGE);
        let status = group(&device, &status_layout, &[&status_word]);
        let buffers: Vec<_> = plan
            .buffers
            .iter()
            .map(|planned| {
                let usage = wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST;
                let buffer = buffer(&device, planned.words as u64 * 4, usage);
                if !matches!(planned.fill, plan::Fill::Zeroes) {
                    let words = plan::words(planned);
                    queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&words));
                }
                buffer
            })
            .collect();
        let made = plan
            .kernels
            .iter()
            .map(|kernel| compile(&device, kernel, &status_layout))
            .collect::<Result<Vec<_>>>()?;
        let steps = plan
            .batch
            .iter()
            .map(|step| {
                let kernel = &made[step.kernel];
                let bound: Vec<_> = step.buffers.iter().map(|&i| &buffers[i]).collect();
                Step {
                    pipeline: kernel.pipeline.clone(),
                    group: (!bound.is_empty()).then(|| group(&device, &kernel.layout, &bound)),
                    has_loops: kernel.has_loops,
                    groups: step.groups,
                }
            })
            .collect();
        let staging = buffer(
            &device,
            plan.result.1 as u64 * 4,
            wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        );
        Ok(Self {
            plan,
            device,
            queue,
            buffers,
            steps,
            status,
            staging,
        })
    }

    /// Seconds of each round, after one computation that is not counted; the last result.
    pub(super) fn run(&self, rounds: usize, repeat: usize) -> Result<(Vec<f64>, Vec<u32>)> {
        let mut words = self.compute()?;
        let mut seconds = Vec::new();
        for _ in 0..rounds {
            let started = Instant::now();
            for _ in 0..repeat {
                words = self.compute()?;
            }
            seconds.push(started.elapsed().as_secs_f64());
        }
        Ok((seconds, words))
    }

    /// Seconds of each round of chunks in, through the kernel and out.
    pub(super) fn stream(&self, rounds: usize, repeat: usize) -> Result<Vec<f64>> {
        let mut chunk = vec![0u32; self.plan.result.1];
        let last = chunk.len() - 1;
        let mut seconds = Vec::new();
        for _ in 0..rounds {
            let started = Instant::now();
            for number in 0..repeat as u32 {
                (chunk[0], chunk[last]) = (number, !number);
                self.queue
                    .write_buffer(&self.buffers[0], 0, bytemuck::cast_slice(&chunk));
                let back = self.compute()?;
                if back[0] != number.wrapping_add(1) {
                    return Err(anyhow!("chunk {number} came back wrong"));
                }
            }
            seconds.push(started.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }

    /// Seconds of one computation on buffers that are made for it, each through the plan's kernel into the next, and dropped after it.
    pub(super) fn with_new_buffers(&self, bytes: u64, repeat: usize) -> Result<f64> {
        let pipeline = &self.steps[0].pipeline;
        let layout = pipeline.get_bind_group_layout(0);
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let started = Instant::now();
        for _ in 0..repeat {
            let made: Vec<_> = (0..BUFFERS)
                .map(|_| buffer(&self.device, bytes, usage))
                .collect();
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            for pair in made.windows(2) {
                let bound = group(&self.device, &layout, &[&pair[0], &pair[1]]);
                pass.set_bind_group(0, &bound, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
            drop(pass);
            encoder.copy_buffer_to_buffer(&made[BUFFERS - 1], 0, &self.staging, 0, 4);
            let words = self.finish(encoder, 4)?;
            if words != [EXPECTED] {
                return Err(anyhow!("the native program computed {words:?}"));
            }
        }
        Ok(started.elapsed().as_secs_f64() / repeat as f64)
    }

    fn compute(&self) -> Result<Vec<u32>> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for step in &self.steps {
            pass.set_pipeline(&step.pipeline);
            if let Some(group) = &step.group {
                pass.set_bind_group(0, group, &[]);
            }
            if step.has_loops {
                pass.set_bind_group(STATUS_GROUP, &self.status, &[]);
            }
            pass.dispatch_workgroups(step.groups[0], step.groups[1], step.groups[2]);
        }
        drop(pass);
        let (result, words) = self.plan.result;
        encoder.copy_buffer_to_buffer(&self.buffers[result], 0, &self.staging, 0, words as u64 * 4);
        self.finish(encoder, words as u64 * 4)
    }

    /// Submits, waits, and reads what was copied for reading back.
    fn finish(&self, encoder: wgpu::CommandEncoder, bytes: u64) -> Result<Vec<u32>> {
        self.queue.submit([encoder.finish()]);
        let slice = self.staging.slice(..bytes);
        slice.map_async(wgpu::MapMode::Read, |_| ());
        self.device.poll(wgpu::PollType::Wait {
            submission_index: None,
            timeout: None,
        })?;
        let words = bytemuck::pod_collect_to_vec(&slice.get_mapped_range()?);
        self.staging.unmap();
        Ok(words)
    }
}

/// The device that the sandbox would take, with what the plan needs.
fn device(plan: &Plan) -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters =
        futures::executor::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    let adapter = adapters.first().context("no Vulkan adapter")?;
    let mut required_limits = wgpu::Limits::defaults();
    required_limits.max_storage_buffers_per_shader_stage += 1; // the loop budget's status
    let required_features = match uses_f16(plan) {
        true => wgpu::Features::SHADER_F16,
        false => wgpu::Features::empty(),
    };
    let request = adapter.request_device(&wgpu::DeviceDescriptor {
        label: None,
        required_features,
        required_limits,
        ..Default::default()
    });
    Ok(futures::executor::block_on(request)?)
}

fn uses_f16(plan: &Plan) -> bool {
    plan.kernels
        .iter()
        .any(|kernel| kernel.wgsl.contains("enable f16"))
}

fn compile(
    device: &wgpu::Device,
    kernel: &plan::KernelPlan,
    status: &wgpu::BindGroupLayout,
) -> Result<Made> {
    let constants: Vec<_> = kernel
        .constants
        .iter()
        .map(|&(name, value)| Constant {
            name: name.into(),
            value,
        })
        .collect();
    let features = match kernel.wgsl.contains("enable f16") {
        true => vec!["shader-f16".to_owned()],
        false => Vec::new(),
    };
    let limits = GpuLimits {
        features,
        ..GpuLimits::default()
    };
    let kernel = instrument(kernel.wgsl, "main", &constants, &limits)?;
    let mut bindings: Vec<_> = kernel
        .module
        .global_variables
        .iter()
        .filter_map(|(_, global)| {
            let binding = global.binding.filter(|binding| binding.group == 0)?;
            let naga::AddressSpace::Storage { access } = global.space else {
                return None;
            };
            let read_only = !access.contains(naga::StorageAccess::STORE);
            Some((
                binding.binding,
                wgpu::BufferBindingType::Storage { read_only },
            ))
        })
        .collect();
    bindings.sort_by_key(|(number, _)| *number);
    let types: Vec<_> = bindings.into_iter().map(|(_, ty)| ty).collect();
    let layout = layout(device, &types);
    let groups = [Some(&layout), Some(status)];
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: match (kernel.has_loops, types.is_empty()) {
            (true, _) => &groups,
            (false, false) => &groups[..1],
            (false, true) => &[],
        },
        immediate_size: 0,
    });
    let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(kernel.module)),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&pipeline_layout),
        module: &shader,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    Ok(Made {
        pipeline,
        layout,
        has_loops: kernel.has_loops,
    })
}

fn buffer(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

fn layout(device: &wgpu::Device, types: &[wgpu::BufferBindingType]) -> wgpu::BindGroupLayout {
    let entries: Vec<_> = (0..)
        .zip(types)
        .map(|(binding, &ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    })
}

fn group(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    buffers: &[&wgpu::Buffer],
) -> wgpu::BindGroup {
    let entries: Vec<_> = (0..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout,
        entries: &entries,
    })
}
