defmodule Palladion.Test.Memory do
  @moduledoc "How much memory is in use, for tests in which it must not grow. In bytes."

  @doc "Of the calling process, of the VM, and of the operating system's process, which has the native library's, too."
  def now do
    {:memory, process} = Process.info(self(), :memory)
    %{process: process, total: :erlang.memory(:total), rss: of_system("VmRSS")}
  end

  @doc "The highest of each."
  def higher(one, other), do: Map.merge(one, other, fn _what, a, b -> max(a, b) end)

  @doc "What the operating system says: `VmRSS`, or `VmHWM`, the highest that was."
  def of_system(name) do
    [_, kib] = Regex.run(~r/#{name}:\s+(\d+) kB/, File.read!("/proc/self/status"))
    String.to_integer(kib) * 1024
  end
end
