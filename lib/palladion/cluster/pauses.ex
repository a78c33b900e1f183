defmodule Palladion.Cluster.Pauses do
  @moduledoc false
  # Asks a reconnection policy of the user's, in a task for each question. Until it answers, and
  # if it never does, the native library's own pause holds.

  alias Palladion.{Config, Native}

  @limit_ms 5_000
  # Tasks at a time; a policy that hangs costs no more.
  @most 64

  defstruct [:handle, :tasks, :policy, :limit, asked: %{}]

  @type t :: %__MODULE__{}

  @doc false
  @spec new(term(), Config.t(), Supervisor.supervisor(), limit_ms :: pos_integer()) :: t()
  def new(handle, config, tasks, limit \\ @limit_ms) do
    custom? = Config.Reconnect.native_policy(config.reconnect) == :custom
    policy = if custom?, do: config.reconnect.policy
    %__MODULE__{handle: handle, tasks: tasks, policy: policy, limit: limit}
  end

  @doc false
  # After a failure to connect to a node.
  @spec ask(t(), binary() | nil, pos_integer()) :: t()
  def ask(%{policy: nil} = pauses, _node, _failures), do: pauses
  def ask(pauses, nil, _failures), do: pauses
  def ask(%{asked: asked} = pauses, _node, _failures) when map_size(asked) >= @most, do: pauses

  def ask(%{policy: {module, options}} = pauses, node, failures) do
    task =
      Task.Supervisor.async_nolink(pauses.tasks, fn -> module.next_delay(failures, options) end)

    Process.send_after(self(), {:too_late, task.ref}, pauses.limit)
    put_in(pauses.asked[task.ref], {task, node})
  catch
    # The task supervisor is just restarting.
    :exit, _reason -> pauses
  end

  @doc false
  # A message of the process: `{:ok, pauses, problem}` with what is worth a line, or `:not_mine`.
  @spec handle(t(), term()) :: {:ok, t(), String.t() | nil} | :not_mine
  def handle(%{asked: asked} = pauses, {ref, delay}) when is_map_key(asked, ref) do
    Process.demonitor(ref, [:flush])
    {{_task, node}, pauses} = pop(pauses, ref)

    if is_integer(delay) and delay >= 0 do
      Native.retry_in(pauses.handle, node, min(delay, 86_400_000))
      {:ok, pauses, nil}
    else
      {:ok, pauses, problem(pauses, "answered #{show(delay)}")}
    end
  end

  def handle(%{asked: asked} = pauses, {:DOWN, ref, :process, _pid, reason})
      when is_map_key(asked, ref) do
    {_asked, pauses} = pop(pauses, ref)
    # With the task supervisor it only ended.
    failed? = reason not in [:shutdown, :noproc]
    {:ok, pauses, if(failed?, do: problem(pauses, "failed: #{show(reason)}"))}
  end

  def handle(%{asked: asked} = pauses, {:too_late, ref}) when is_map_key(asked, ref) do
    {{task, _node}, pauses} = pop(pauses, ref)
    Task.shutdown(task, :brutal_kill)
    {:ok, pauses, problem(pauses, "took longer than #{pauses.limit} ms")}
  end

  def handle(_pauses, _other), do: :not_mine

  defp pop(pauses, ref) do
    {asked, rest} = Map.pop!(pauses.asked, ref)
    {asked, %{pauses | asked: rest}}
  end

  defp problem(%{policy: {module, _options}}, text),
    do: "the reconnection policy #{inspect(module)} #{text}; the pause is reconnect: [max:]"

  defp show(term), do: inspect(term, limit: 10, printable_limit: 200)
end
