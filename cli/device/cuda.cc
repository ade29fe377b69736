// The first CUDA device, by the runtime's own functions; no kernel is launched here.
// Delays: a fill of many times the level-2 cache evicts what is there; a wait of the host's leaves it alone.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <new>
#include <stdexcept>

#include "cli/device/device.h"

namespace dropkit::cli {
namespace {

constexpr size_t kEvictTimes = 4;                       // of the cache's size
constexpr auto kWait = std::chrono::microseconds(200);  // longer than it takes to enqueue a call

// On a thread of the driver's, while the stream waits.
void Wait(void*) {
  const auto end = std::chrono::steady_clock::now() + kWait;
  while (std::chrono::steady_clock::now() < end) {
  }
}

void Expect(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // this one does not stay
    throw std::bad_alloc();
  }
  throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int Attribute(cudaDeviceAttr attribute) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, attribute, 0) == cudaSuccess ? value : 0;
}

// "580.95.05" of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  ...": its first word with two parts.
std::string DriverRelease() {
  std::ifstream file("/proc/driver/nvidia/version");
  for (std::string word; file >> word;) {
    const bool digits = word.find_first_not_of("0123456789.") == std::string::npos;
    if (digits && word.find('.') != std::string::npos) return word;
  }
  return "unknown";
}

class Graph : public Replay {
 public:
  Graph(cudaGraph_t graph, cudaStream_t stream) : graph_(graph), stream_(stream) {
    Expect(cudaGraphInstantiate(&run_, graph, 0), "cudaGraphInstantiate");
    size_t count = 0;
    Expect(cudaGraphGetNodes(graph, nullptr, &count), "cudaGraphGetNodes");
    std::vector<cudaGraphNode_t> nodes(count);
    Expect(cudaGraphGetNodes(graph, nodes.data(), &count), "cudaGraphGetNodes");
    for (cudaGraphNode_t node : nodes) {
      cudaGraphNodeType type;
      Expect(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
      ++(type == cudaGraphNodeTypeKernel ? kernels_ : others_);
    }
  }
  ~Graph() override {
    cudaGraphExecDestroy(run_);
    cudaGraphDestroy(graph_);
  }
  void Launch() override { Expect(cudaGraphLaunch(run_, stream_), "cudaGraphLaunch"); }
  int kernels() const override { return kernels_; }
  int others() const override { return others_; }

 private:
  cudaGraph_t graph_;
  cudaGraphExec_t run_ = nullptr;
  cudaStream_t stream_;
  int kernels_ = 0, others_ = 0;
};

class CudaCard : public Device {
 public:
  CudaCard() {
    Expect(cudaSetDevice(0), "cudaSetDevice");
    Expect(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    for (cudaEvent_t& event : events_) Expect(cudaEventCreate(&event), "cudaEventCreate");
    const char* fences = std::getenv("DROPKIT_CHECK_FENCES");
    fence_bytes_ = fences && std::string(fences) == "0" ? 0 : 256;
  }
  void* stream() override { return stream_; }
  void* Allocate(size_t bytes) override {
    void* memory = nullptr;
    Expect(cudaMalloc(&memory, std::max<size_t>(bytes, 1)), "cudaMalloc");
    return memory;
  }
  void Free(void* memory) override { cudaFree(memory); }
  void ToDevice(void* device, const void* host, size_t bytes) override {
    if (bytes == 0) return;
    Expect(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpy to the device");
    Expect(cudaStreamSynchronize(stream_), "cudaMemcpy to the device");
  }
  void ToHost(void* host, const void* device, size_t bytes) override {
    if (bytes == 0) return;
    Expect(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpy to the host");
    Expect(cudaStreamSynchronize(stream_), "cudaMemcpy to the host");
  }
  void Copy(void* to, const void* from, size_t bytes) override {
    Expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "cudaMemcpy on the device");
  }
  Status Synchronise() override {
    cudaError_t error = cudaStreamSynchronize(stream_);
    if (error == cudaSuccess) error = cudaGetLastError();
    if (error == cudaSuccess) return Status();
    lost_ = true;
    return Status::Internal(std::string("CUDA: ") + cudaGetErrorName(error) + ": " + cudaGetErrorString(error));
  }
  bool lost() const override { return lost_; }

  void Delay(Caches caches) override {
    if (caches != Caches::kEvicted) return Expect(cudaLaunchHostFunc(stream_, Wait, nullptr), "cudaLaunchHostFunc");
    const size_t wanted = kEvictTimes * L2Bytes();
    if (delay_bytes_ < wanted) {
      Free(delay_);
      delay_ = Allocate(wanted);
      delay_bytes_ = wanted;
    }
    Expect(cudaMemsetAsync(delay_, 0, wanted, stream_), "cudaMemset");
  }
  void Mark(int mark) override { Expect(cudaEventRecord(events_[mark], stream_), "cudaEventRecord"); }
  double SecondsBetween(int from, int to) override {
    float milliseconds = 0;
    Expect(cudaEventElapsedTime(&milliseconds, events_[from], events_[to]), "cudaEventElapsedTime");
    return 1e-3 * milliseconds;
  }
  std::unique_ptr<Replay> Capture(const std::function<void()>& work) override {
    Expect(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      throw;
    }
    Expect(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    return std::make_unique<Graph>(graph, stream_);
  }

  size_t fence_bytes() const override { return fence_bytes_; }
  Facts facts() override {
    cudaDeviceProp card;
    Expect(cudaGetDeviceProperties(&card, 0), "cudaGetDeviceProperties");
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const auto mhz = [](cudaDeviceAttr rate) { return std::to_string(Attribute(rate) / 1000) + " MHz"; };
    return {{"name", card.name},
            {"compute capability", std::to_string(card.major) + "." + std::to_string(card.minor)},
            {"multiprocessors", std::to_string(card.multiProcessorCount)},
            {"memory", std::to_string(card.totalGlobalMem >> 20) + " MiB"},
            {"L2 cache", std::to_string(card.l2CacheSize >> 20) + " MiB"},
            {"most clock", mhz(cudaDevAttrClockRate)},
            {"most memory clock", mhz(cudaDevAttrMemoryClockRate)},
            {"driver", DriverRelease()},
            {"driver's CUDA", VersionText(driver)},
            {"CUDA runtime", VersionText(runtime)}};
  }

 private:
  static size_t L2Bytes() { return std::max<size_t>(static_cast<size_t>(Attribute(cudaDevAttrL2CacheSize)), 1 << 24); }

  cudaStream_t stream_ = nullptr;
  cudaEvent_t events_[kMarks] = {};
  size_t fence_bytes_;
  void* delay_ = nullptr;
  size_t delay_bytes_ = 0;
  bool lost_ = false;
};

}  // namespace

std::string WhyNoCudaDevice() {
  for (const BackendInfo& info : Backends()) {
    if (info.name == "cuda") return info.available ? "" : info.why;
  }
  return "built without CUDA";
}

// Never freed: the driver may be gone when a program's statics are.
Device* CudaDevice() {
  static Device* const device = WhyNoCudaDevice().empty() ? new CudaCard : nullptr;
  return device;
}

}  // namespace dropkit::cli
