defmodule Palladion.Timestamps do
  @moduledoc false
  # The times of writes, in µs since 1970, made by the client: of two writes of a cluster's callers the
  # later has the greater, also within one µs, in whatever processes they are, and when the clock was
  # set back. One word that all share; nobody waits for anybody.

  @type t :: :atomics.atomics_ref()

  @doc false
  @spec new() :: t()
  def new, do: :atomics.new(1, signed: true)

  @doc false
  # The clock's time, or else the µs after the last that was given.
  @spec next(t(), now :: integer()) :: integer()
  def next(timestamps, now \\ System.os_time(:microsecond)) do
    advance(timestamps, now, :atomics.get(timestamps, 1))
  end

  defp advance(timestamps, now, last) do
    next = max(now, last + 1)

    case :atomics.compare_exchange(timestamps, 1, last, next) do
      :ok -> next
      # Another process was first.
      newer -> advance(timestamps, now, newer)
    end
  end
end
