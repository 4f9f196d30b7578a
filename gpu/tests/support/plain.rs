//! The same kernel without a loop budget: straight through wgpu, as its own front end compiles it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::ops::Range;

use aevir_gpu::Constant;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};

/// A device that knows nothing of Aevir.
pub struct Plain {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

/// A binding of a kernel.
#[derive(Debug, Clone)]
pub struct Binding {
    pub number: u32,
    /// Whether the entry point uses it.
    pub used: bool,
    pub writable: bool,
    pub uniform: bool,
    pub kinds: Vec<ScalarKind>,
    /// Whether its numbers are halves, two in a word.
    pub halves: bool,
}

/// What a kernel binds, in the order of the numbers.
pub fn bindings(wgsl: &str, entry: &str) -> Vec<Binding> {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap();
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .unwrap();
    let index = module.entry_points.iter().position(|e| e.name == entry);
    let uses = info.get_entry_point(index.unwrap());
    let mut found: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(handle, global)| {
            let writable = matches!(global.space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
            Some(Binding {
                number: global.binding?.binding,
                used: !uses[handle].is_empty(),
                writable,
                uniform: global.space == AddressSpace::Uniform,
                kinds: scalars(&module, global.ty).map(|s| s.kind).collect(),
                halves: scalars(&module, global.ty).any(|scalar| scalar.width == 2),
            })
        })
        .collect();
    found.sort_by_key(|binding| binding.number);
    found
}

/// The override constants of a kernel, and the kinds of their types.
pub fn overrides(wgsl: &str) -> Vec<(String, ScalarKind)> {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap();
    let all = module.overrides.iter();
    all.map(|(_, constant)| {
        let name = constant.name.clone().unwrap();
        let scalar = scalars(&module, constant.ty).next();
        (name, scalar.unwrap().kind)
    })
    .collect()
}

/// The scalars in a type, in their order.
fn scalars(
    module: &naga::Module,
    ty: naga::Handle<naga::Type>,
) -> std::vec::IntoIter<naga::Scalar> {
    let all = match &module.types[ty].inner {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => vec![*scalar],
        TypeInner::Vector { size, scalar } => vec![*scalar; *size as usize],
        TypeInner::Array { base, .. } => return scalars(module, *base),
        TypeInner::Struct { members, .. } => {
            let members = members.iter();
            members
                .flat_map(|member| scalars(module, member.ty))
                .collect()
        }
        other => panic!("{other:?} is in no test kernel"),
    };
    all.into_iter()
}

impl Plain {
    pub fn open() -> Self {
        super::driver();
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let mut adapters = wait(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        adapters.sort_by_key(|adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu);
        let half = adapters[0].features() & wgpu::Features::SHADER_F16;
        let request = adapters[0].request_device(&wgpu::DeviceDescriptor {
            required_features: half,
            ..Default::default()
        });
        let (device, queue) = wait(request).unwrap();
        Self { device, queue }
    }

    /// Runs one dispatch on buffers of the given words; the words afterwards.
    pub fn run(
        &self,
        wgsl: &str,
        entry: &str,
        constants: &[Constant],
        buffers: &[Vec<u32>],
        groups: [u32; 3],
    ) -> Vec<Vec<u32>> {
        let shader = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(wgsl.into()),
            });
        let constants: Vec<_> = constants
            .iter()
            .map(|c| (c.name.as_str(), c.value))
            .collect();
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &shader,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    ..Default::default()
                },
                cache: None,
            });
        let bindings = bindings(wgsl, entry);
        let made: Vec<_> = (buffers.iter().zip(&bindings))
            .map(|(words, binding)| self.buffer(words, binding.uniform))
            .collect();
        let entries: Vec<_> = (made.iter().zip(&bindings))
            .filter(|(_, binding)| binding.used)
            .map(|(buffer, binding)| wgpu::BindGroupEntry {
                binding: binding.number,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        drop(pass);
        self.queue.submit([encoder.finish()]);
        made.iter().map(|buffer| self.read(buffer)).collect()
    }

    /// What wgpu says to a dispatch whose first two bindings are parts of one buffer.
    pub fn dispatch_on_parts(&self, wgsl: &str, a: Range<u64>, b: Range<u64>) -> Option<String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let shader = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(wgsl.into()),
            });
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &shader,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            });
        let whole = self.buffer(&vec![0; b.end as usize / 4], false);
        let entry = |binding, part: Range<u64>| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &whole,
                offset: part.start,
                size: std::num::NonZeroU64::new(part.end - part.start),
            }),
        };
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[entry(0, a), entry(1, b)],
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
        drop(pass);
        self.queue.submit([encoder.finish()]);
        wait(scope.pop()).map(|error| error.to_string())
    }

    /// What wgpu says to a copy between parts of one buffer.
    pub fn copy_between_parts(&self, from: Range<u64>, to: Range<u64>) -> Option<String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let whole = self.buffer(&vec![0; to.end as usize / 4], false);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let bytes = from.end - from.start;
        encoder.copy_buffer_to_buffer(&whole, from.start, &whole, to.start, bytes);
        self.queue.submit([encoder.finish()]);
        wait(scope.pop()).map(|error| error.to_string())
    }

    fn buffer(&self, words: &[u32], uniform: bool) -> wgpu::Buffer {
        let usage = match uniform {
            true => wgpu::BufferUsages::UNIFORM,
            false => wgpu::BufferUsages::STORAGE,
        };
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: words.len() as u64 * 4,
            usage: usage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue
            .write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.slice(..).map_async(wgpu::MapMode::Read, |_| ());
        let all = wgpu::PollType::Wait {
            submission_index: None,
            timeout: None,
        };
        self.device.poll(all).unwrap();
        super::words(&staging.slice(..).get_mapped_range().unwrap())
    }
}

/// Takes the result of a future that wgpu finishes at once.
fn wait<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("wgpu's native futures are ready at once"),
    }
}
