#include "embed/matrix_product.hpp"

#include <cassert>
#include <string_view>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/base/isa.hpp"

namespace promptcache::embed {
namespace {

using Dim = dnnl::memory::dim;
using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

void limit_isa() {
  const std::string_view isa = active_isa();
  if (isa == available_isas().front()) return;
#if defined(__x86_64__) || defined(__i386__)
  dnnl::cpu_isa limit = dnnl::cpu_isa::sse41;  // its lowest
  if (isa == "avx2") limit = dnnl::cpu_isa::avx2;
  if (isa == "avx512") limit = dnnl::cpu_isa::avx512_core;
  if (dnnl::set_max_cpu_isa(limit) != dnnl::status::success) {
    throw Error(ErrorCode::unsupported, {"PROMPTCACHE_ISA"}, "oneDNN in use before the first embedder was opened",
                "the first use of oneDNN in this process, so that it can be limited to " + std::string(isa));
  }
#endif
}

dnnl::primitive_attr attributes(const Activation* activation) {
  dnnl::primitive_attr attributes;
  // Scratch memory inside the primitive would be shared by the threads that run it.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (activation == nullptr) return attributes;
  dnnl::algorithm algorithm = dnnl::algorithm::eltwise_gelu_erf;
  if (*activation == Activation::gelu_tanh) algorithm = dnnl::algorithm::eltwise_gelu_tanh;
  if (*activation == Activation::relu) algorithm = dnnl::algorithm::eltwise_relu;
  dnnl::post_ops operations;
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(algorithm, 0, 0);
#else
  operations.append_eltwise(1, algorithm, 0, 0);
#endif
  attributes.set_post_ops(operations);
  return attributes;
}

/// One shape of a product; `packed` is null while the layout of the weights is oneDNN's to choose.
struct Shape {
  Dim rows, in, out;
  Arithmetic arithmetic;
  bool activated;
  const dnnl::memory::desc* packed;

  bool has_bias() const { return arithmetic != Arithmetic::int8; }
  Type source() const {
    if (arithmetic == Arithmetic::int8) return Type::u8;
    return arithmetic == Arithmetic::bf16 ? Type::bf16 : Type::f32;
  }
  Type weights() const { return arithmetic == Arithmetic::int8 ? Type::s8 : source(); }
  Type target() const {
    if (arithmetic == Arithmetic::int8) return Type::s32;
    return arithmetic == Arithmetic::bf16 && activated ? Type::bf16 : Type::f32;
  }
};

dnnl::matmul::primitive_desc describe_matmul(const Shape& shape, const dnnl::primitive_attr& attributes) {
  const dnnl::memory::desc source({shape.rows, shape.in}, shape.source(), Tag::ab);
  const dnnl::memory::desc weights =
      shape.packed != nullptr ? *shape.packed : dnnl::memory::desc({shape.in, shape.out}, shape.weights(), Tag::any);
  const dnnl::memory::desc bias =
      shape.has_bias() ? dnnl::memory::desc({1, shape.out}, Type::f32, Tag::ab) : dnnl::memory::desc();
  const dnnl::memory::desc target({shape.rows, shape.out}, shape.target(), Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), source, weights, bias, target, attributes};
#else
  return {dnnl::matmul::desc(source, weights, bias, target), attributes, cpu_engine()};
#endif
}

dnnl::convolution_forward::primitive_desc describe_convolution(const Shape& shape,
                                                               const dnnl::primitive_attr& attributes) {
  const dnnl::memory::desc source({1, shape.in, shape.rows}, shape.source(), Tag::nwc);
  const dnnl::memory::desc weights =
      shape.packed != nullptr ? *shape.packed : dnnl::memory::desc({shape.out, shape.in, 1}, shape.weights(), Tag::any);
  const dnnl::memory::desc bias =
      shape.has_bias() ? dnnl::memory::desc({shape.out}, Type::f32, Tag::a) : dnnl::memory::desc();
  const dnnl::memory::desc target({1, shape.out, shape.rows}, shape.target(), Tag::nwc);
  const auto inference = dnnl::prop_kind::forward_inference;
  const auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), inference, direct, source, weights, bias, target, {1}, {0}, {0}, attributes};
#else
  return {dnnl::convolution_forward::desc(inference, direct, source, weights, bias, target, {1}, {0}, {0}), attributes,
          cpu_engine()};
#endif
}

bool contains(const char* name, std::string_view piece) {
  return std::string_view(name).find(piece) != std::string_view::npos;
}

}  // namespace

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine = [] {
    limit_isa();
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

bool has_arithmetic(Arithmetic arithmetic) {
  if (arithmetic != Arithmetic::bf16) return true;
  cpu_engine();  // limits oneDNN to the active instruction set
#if defined(__x86_64__) || defined(__i386__)
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  for (const dnnl::cpu_isa with : {
         dnnl::cpu_isa::avx512_core_bf16, dnnl::cpu_isa::avx512_core_amx,
#if DNNL_VERSION_MAJOR >= 3
             dnnl::cpu_isa::avx512_core_fp16, dnnl::cpu_isa::avx512_core_amx_fp16,
#endif
       }) {
    if (isa == with) return true;
  }
#endif
  return false;
}

struct MatrixProduct::Recipe {
  Arithmetic arithmetic = Arithmetic::f32;
  bool activated = false;
  bool convolution = false;
  dnnl::primitive_attr attributes;
  dnnl::memory::desc packed;  // one layout for every number of rows
};

struct MatrixProduct::Plan {
  dnnl::primitive primitive;
  dnnl::memory::desc source;
  dnnl::memory::desc target;
  dnnl::memory::desc bias;
  dnnl::memory::desc scratch;
  std::string kernel;

  template <class Description>
  static Plan of(const Description& description, const dnnl::primitive& primitive) {
    return {primitive,
            description.src_desc(),
            description.dst_desc(),
            description.query_md(dnnl::query::exec_arg_md, DNNL_ARG_BIAS),
            description.scratchpad_desc(),
            description.impl_info_str()};
  }
};

MatrixProduct::MatrixProduct(std::size_t in, std::size_t out, Arithmetic arithmetic, const Activation* activation)
    : in_(in), out_(out) {
  if (arithmetic == Arithmetic::int8 && byte_product_wanted()) return;
  recipe_ = std::make_unique<Recipe>();
  recipe_->arithmetic = arithmetic;
  recipe_->activated = activation != nullptr;
  recipe_->attributes = attributes(activation);
  const Shape shape{32, Dim(in), Dim(out), arithmetic, recipe_->activated, nullptr};
  const auto matmul = describe_matmul(shape, recipe_->attributes);
  recipe_->packed = matmul.weights_desc();
  if (contains(matmul.impl_info_str(), "brg")) return;
  try {
    const auto convolution = describe_convolution(shape, recipe_->attributes);
    const char* kernel = convolution.impl_info_str();
    if (!contains(kernel, "1x1:") && !contains(kernel, "brg")) return;
    recipe_->packed = convolution.weights_desc();
    recipe_->convolution = true;
  } catch (const dnnl::error&) {
    // This processor has no such convolution: the matrix product it is.
  }
}

MatrixProduct::~MatrixProduct() {
  for (const auto& plan : plans_) delete plan.load();
}

const MatrixProduct::Plan& MatrixProduct::plan(std::size_t rows) const {
  assert(rows > 0 && rows <= max_rows);
  const Plan* found = plans_[rows].load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  const std::lock_guard lock(making_);
  found = plans_[rows].load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  std::unique_ptr<Plan> made;
  const Shape shape{Dim(rows), Dim(in_), Dim(out_), recipe_->arithmetic, recipe_->activated, &recipe_->packed};
  if (recipe_->convolution) {
    const auto description = describe_convolution(shape, recipe_->attributes);
    made = std::make_unique<Plan>(Plan::of(description, dnnl::convolution_forward(description)));
  } else {
    const auto description = describe_matmul(shape, recipe_->attributes);
    made = std::make_unique<Plan>(Plan::of(description, dnnl::matmul(description)));
  }
  plans_[rows].store(made.get(), std::memory_order_release);
  return *made.release();
}

std::string MatrixProduct::kernel(std::size_t rows) const { return recipe_ ? plan(rows).kernel : "bytes:avx2"; }

std::size_t MatrixProduct::packed_size() const {
  return recipe_ ? recipe_->packed.get_size() : byte_product_size(in_, out_);
}

void MatrixProduct::pack_matrix(const void* weights, Type type, void* packed) const {
  // The same bytes, seen as a convolution's [out, in, 1] or as a transposed [in, out].
  const dnnl::memory::desc plain = recipe_->convolution ? dnnl::memory::desc({Dim(out_), Dim(in_), 1}, type, Tag::abc)
                                                        : dnnl::memory::desc({Dim(in_), Dim(out_)}, type, Tag::ba);
  dnnl::memory from(plain, cpu_engine(), const_cast<void*>(weights));
  dnnl::memory to(recipe_->packed, cpu_engine(), packed);
  dnnl::stream stream(cpu_engine());
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
}

void MatrixProduct::pack(std::span<const float> weights, void* packed) const {
  assert(weights.size() == in_ * out_);
  pack_matrix(weights.data(), Type::f32, packed);
}

void MatrixProduct::pack(std::span<const std::int8_t> weights, void* packed) const {
  assert(weights.size() == in_ * out_);
  if (recipe_) {
    pack_matrix(weights.data(), Type::s8, packed);
  } else {
    pack_byte_product(weights.data(), in_, out_, static_cast<std::int8_t*>(packed));
  }
}

void MatrixProduct::run(const void* x, std::size_t rows, const PackedWeights& weights, void* y, dnnl::stream& stream,
                        dnnl::memory& scratch) const {
  if (!recipe_) {
    run_byte_product(static_cast<const std::uint8_t*>(x), rows, in_, out_,
                     static_cast<const std::int8_t*>(weights.weights), static_cast<std::int32_t*>(y));
    return;
  }
  const Plan& plan = this->plan(rows);
  const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, cpu_engine(), const_cast<void*>(data));
  };
  const dnnl::memory source = memory(plan.source, x);
  const dnnl::memory packed = memory(recipe_->packed, weights.weights);
  const dnnl::memory target = memory(plan.target, y);
  // In int8 the bias is for whoever makes values of the sums, and oneDNN refuses what it was not promised.
  const dnnl::memory bias = recipe_->arithmetic == Arithmetic::int8 ? dnnl::memory() : memory(plan.bias, weights.bias);
  const std::size_t wanted = plan.scratch.get_size();
  if (wanted > 0 && (!scratch || scratch.get_desc().get_size() < wanted))
    scratch = dnnl::memory(plan.scratch, cpu_engine());
  // An array instead of the C++ wrapper's hash map: this runs 24 times for a prompt of a few tokens.
  std::array<dnnl_exec_arg_t, 5> arguments{
      {{DNNL_ARG_SRC, source.get()}, {DNNL_ARG_WEIGHTS, packed.get()}, {DNNL_ARG_DST, target.get()}}};
  int count = 3;
  const auto give = [&](int which, dnnl_memory_t given) {
    arguments[static_cast<std::size_t>(count++)] = {which, given};
  };
  if (bias) give(DNNL_ARG_BIAS, bias.get());
  if (wanted > 0) give(DNNL_ARG_SCRATCHPAD, scratch.get());
  dnnl::error::wrap_c_api(dnnl_primitive_execute(plan.primitive.get(), stream.get(), count, arguments.data()),
                          "could not run a matrix product");
}

}  // namespace promptcache::embed
