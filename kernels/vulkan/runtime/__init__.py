"""What Vulkan itself offers: instance, devices, memory, pipelines."""
