defmodule Palladion.Cluster.Topology.Schedule do
  @moduledoc false
  # When the next refresh of the topology is due: soon after events, after a pause that grows with
  # failures, and from time to time without either.

  @first_retry_ms 2_000
  @longest_retry_ms 30_000

  # Events that go on and on delay a refresh by so many times `debounce`.
  @longest_debounce 5

  @enforce_keys [:debounce, :interval, :random]
  defstruct [
    :debounce,
    :interval,
    :random,
    # nil, or the times of the first and the last event that ask for a refresh
    asked: nil,
    # nil, or when it is due without any event
    at: nil,
    failures: 0
  ]

  @type t :: %__MODULE__{}

  @doc false
  @spec new(%{
          required(:debounce) => non_neg_integer(),
          required(:refresh_interval) => pos_integer(),
          optional(:seed) => integer(),
          optional(atom()) => term()
        }) :: t()
  def new(%{debounce: debounce, refresh_interval: interval} = config) do
    %__MODULE__{debounce: debounce, interval: interval, random: random(config)}
  end

  defp random(%{seed: seed}), do: :rand.seed_s(:exsss, seed)
  defp random(_config), do: :rand.seed_s(:exsss)

  @doc false
  # Events that come together share a refresh.
  @spec ask(t(), integer()) :: t()
  def ask(%{asked: nil} = schedule, now), do: %{schedule | asked: {now, now}}
  def ask(%{asked: {first, _last}} = schedule, now), do: %{schedule | asked: {first, now}}

  @doc false
  @spec asked?(t()) :: boolean()
  def asked?(schedule), do: schedule.asked != nil

  @doc false
  @spec at_once(t(), integer()) :: t()
  def at_once(schedule, now), do: %{schedule | asked: nil, at: now}

  @doc false
  # As long as one runs, or none can.
  @spec clear(t()) :: t()
  def clear(schedule), do: %{schedule | asked: nil, at: nil}

  @doc false
  @spec succeeded(t(), integer()) :: t()
  def succeeded(%{interval: interval} = schedule, now) do
    # Not all clusters' at the same time.
    between(%{schedule | failures: 0}, now + div(interval * 9, 10), now + div(interval * 11, 10))
  end

  @doc false
  @spec failed(t(), integer()) :: t()
  def failed(%{failures: failures} = schedule, now) do
    longest = min(@longest_retry_ms, @first_retry_ms * Integer.pow(2, min(failures, 10)))
    between(%{schedule | failures: failures + 1}, now + div(longest, 2), now + longest)
  end

  defp between(schedule, from, to) do
    {number, random} = :rand.uniform_s(to - from + 1, schedule.random)
    %{schedule | at: from + number - 1, random: random}
  end

  @doc false
  @spec due(t()) :: integer() | nil
  def due(%{asked: nil, at: at}), do: at

  def due(%{asked: {first, last}, at: at, debounce: debounce}) do
    # Any number is less than nil.
    min(at, min(last + debounce, first + @longest_debounce * debounce))
  end
end
