# Puts a CUDA toolkit together at /build/cuda, from parts that can be had without a licence server
# or a vendor's archive: Debian's nvidia-cuda-toolkit (nvcc and what it calls) is unpacked in
# /build/unpacked, NVIDIA's wheels (headers) are installed in /build/requirements. What is linked
# against are the libraries of the image itself.
set -eu
kit=/build/cuda debian=/build/unpacked wheels=/build/requirements/nvidia
nvidia=$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/nvidia
mkdir -p "$kit/bin" "$kit/nvvm/bin" "$kit/lib64" "$kit/include"

cp "$debian/usr/lib/nvidia-cuda-toolkit/bin/nvcc" "$kit/bin/" # finds the rest beside itself
cp -r "$debian/usr/lib/nvidia-cuda-toolkit/bin/crt" "$kit/bin/"
for tool in bin2c cudafe++ cuobjdump fatbinary nvlink ptxas; do
    ln -s "$debian/usr/bin/$tool" "$kit/bin/"
done
ln -s "$debian/usr/lib/nvidia-cuda-toolkit/bin/cicc" "$kit/nvvm/bin/"
ln -s "$debian/usr/lib/nvidia-cuda-toolkit/libdevice" "$kit/nvvm/libdevice"
cat >"$kit/bin/nvcc.profile" <<'END'
TOP = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH += $(TOP)/nvvm/bin:$(_HERE_):
INCLUDES += "-I$(TOP)/include" $(_SPACE_)
LIBRARIES =+ $(_SPACE_) "-L$(TOP)/lib64"
END

for part in cuda_runtime cuda_nvcc cuda_cccl; do
    cp -r "$wheels/$part/include/." "$kit/include/"
done
# glibc 2.41 declares these functions too, as noexcept; C++ wants both declarations alike.
if grep -q sinpi /usr/include/*/bits/mathcalls.h; then
    sed -i -E 's/^(extern .*__device_builtin__ .*(sin|cos)pif?\((double|float) x\));/\1 noexcept(true);/' \
        "$kit/include/crt/math_functions.h"
fi

# The wheels have the libraries under their sonames only.
ln -s libcudart.so.12 "$nvidia/cuda_runtime/lib/libcudart.so"
ln -s libnccl.so.2 "$nvidia/nccl/lib/libnccl.so"
ln -s "$nvidia/cuda_runtime/lib/libcudart.so" "$kit/lib64/"
printf '!<arch>\n' >"$kit/lib64/libcudadevrt.a" # nvcc always names it; nothing of it is used
cat >"$kit/toolchain.cmake" <<END
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set(NCCL_INCLUDE_DIR "$nvidia/nccl/include" CACHE PATH "")
set(NCCL_LIBRARY "$nvidia/nccl/lib/libnccl.so" CACHE FILEPATH "")
END
