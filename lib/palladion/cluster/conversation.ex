defmodule Palladion.Cluster.Conversation do
  @moduledoc false
  # The questions of one login, or those for AWS credentials, from the first to the last. What the
  # user supplies for them runs in a process of its own, the worker, which alone sees credentials
  # and tokens, answers the native library itself, and lets nothing of them out when it fails. The
  # keeper beside it sees to it that the worker ends: with the login, in time, and with the process
  # that was asked.

  alias Palladion.Authenticator.Endpoint
  alias Palladion.Config.Credentials
  alias Palladion.Printable

  # The native library gives up by itself, and tells so by a reason; this is for when it doesn't.
  @grace_ms 1_000

  @type sealed :: (() -> term())

  @typedoc "What is to be found out, and where: values are opened in the worker alone"
  @type subject ::
          {:credentials, sealed(), Endpoint.t()}
          | {:aws_credentials, sealed()}
          | {:authenticator, module(), sealed(), Endpoint.t()}

  @typedoc "A question after the first"
  @type question :: {:challenge, binary()} | {:success, binary() | nil}

  @type answer ::
          {:credentials, map()}
          | {:aws_credentials, map()}
          | {:token, binary() | nil}
          | :ok
          | {:error, String.t()}

  @typedoc """
  How to answer, what, and how long it may take in ms: an answer, and what lies between two questions
  """
  @type t :: %{
          answer: (answer() -> term()),
          subject: subject(),
          timeout: pos_integer(),
          idle: pos_integer()
        }

  @doc false
  # Begins with the first answer. The caller is the process that is asked; it gets a `:DOWN` of
  # the monitor, without a reason worth knowing.
  @spec start(t()) :: {pid(), monitor :: reference()}
  def start(conversation) do
    asked = self()

    :erlang.spawn_opt(
      fn ->
        Process.flag(:sensitive, true)
        keep(conversation, asked)
      end,
      [:monitor]
    )
  end

  @doc false
  @spec ask(pid(), question()) :: :ok
  def ask(keeper, question) do
    send(keeper, {:ask, question})
    :ok
  end

  @doc false
  # Nobody waits for an answer any more.
  @spec finish(pid()) :: :ok
  def finish(keeper) do
    send(keeper, :end)
    :ok
  end

  # The keeper

  defp keep(conversation, asked) do
    # A link, which kills the worker if the keeper is killed; trapped, for the worker may be killed
    # by processes of the user's that are linked to it.
    Process.flag(:trap_exit, true)
    keeper = self()

    worker =
      :erlang.spawn_opt(
        fn ->
          Process.flag(:sensitive, true)
          work(conversation, keeper)
        end,
        [:link]
      )

    keep_on(%{
      conversation: conversation,
      asked: Process.monitor(asked),
      worker: worker,
      # answers that are due: none, or the one to this step
      due: 1,
      step: first_step(conversation.subject),
      until: now_ms() + conversation.timeout + @grace_ms
    })
  end

  defp keep_on(%{worker: worker, asked: asked} = state) do
    receive do
      {:ask, question} ->
        send(worker, {self(), question})
        step = step(state.conversation.subject, question)
        keep_on(wait(%{state | due: state.due + 1, step: step}))

      # The next question may have overtaken it.
      {^worker, :answered} ->
        keep_on(wait(%{state | due: state.due - 1}))

      {:EXIT, ^worker, _reason} ->
        if state.due > 0, do: fail(state, "failed: its process was killed")

      :end ->
        kill(worker)

      {:DOWN, ^asked, :process, _pid, _reason} ->
        kill(worker)
    after
      max(state.until - now_ms(), 0) ->
        kill(worker)

        if state.due > 0,
          do: fail(state, "took longer than #{state.conversation.timeout} ms"),
          else: :ok
    end
  end

  defp wait(%{due: 0} = state), do: %{state | until: now_ms() + state.conversation.idle}
  defp wait(state), do: %{state | until: now_ms() + state.conversation.timeout + @grace_ms}

  defp kill(worker), do: Process.exit(worker, :kill)

  defp fail(state, what), do: state.conversation.answer.({:error, "#{state.step} #{what}"})

  # As the beginning of a sentence.
  defp first_step({:credentials, _sealed, _endpoint}), do: "finding the credentials"
  defp first_step({:aws_credentials, _sealed}), do: "finding the AWS credentials"

  defp first_step({:authenticator, module, _sealed, _endpoint}),
    do: "#{name(module, :new)} or initial_response/1"

  defp step({:authenticator, module, _sealed, _endpoint}, {:challenge, _bytes}),
    do: name(module, :evaluate_challenge)

  defp step({:authenticator, module, _sealed, _endpoint}, {:success, _bytes}),
    do: name(module, :on_success)

  defp step(subject, _unexpected), do: first_step(subject)

  # The worker

  defp work(conversation, keeper),
    do: conversation.subject |> begin() |> go_on(conversation, keeper)

  defp work_on(conversation, keeper, {module, state}) do
    receive do
      {^keeper, {:challenge, challenge}} ->
        module |> round(:evaluate_challenge, [challenge, state]) |> go_on(conversation, keeper)

      {^keeper, {:success, token}} ->
        module |> success(token, state) |> go_on(conversation, keeper)
    end
  end

  defp go_on({:go_on, answer, state}, conversation, keeper) do
    reply(conversation, keeper, answer)
    work_on(conversation, keeper, state)
  end

  # Not a normal end, which would leave behind what the user's code has linked to this process.
  defp go_on(last, conversation, keeper) do
    reply(conversation, keeper, last)
    exit(:shutdown)
  end

  defp reply(conversation, keeper, answer) do
    conversation.answer.(answer)
    send(keeper, {self(), :answered})
  rescue
    # Nothing that is expected; but a stack trace would have the answer in it.
    _error -> exit(:shutdown)
  end

  defp begin({:credentials, sealed, endpoint}) do
    guarded("finding the credentials", fn ->
      with {:ok, found} <- Credentials.fetch(sealed.(), endpoint), do: {:credentials, found}
    end)
  end

  defp begin({:aws_credentials, sealed}) do
    guarded("finding the AWS credentials", fn ->
      with {:ok, found} <- Credentials.fetch_aws(sealed.()), do: {:aws_credentials, found}
    end)
  end

  defp begin({:authenticator, module, sealed, endpoint}) do
    name = name(module, :new)

    new =
      guarded(name, fn ->
        case module.new(endpoint, sealed.()) do
          {:ok, state} -> {:ok, state}
          {:error, reason} -> {:error, said(name, reason)}
          _other -> {:error, wrong(name, "{:ok, state}")}
        end
      end)

    with {:ok, state} <- new, do: round(module, :initial_response, [state])
  end

  # What both callbacks that give a token have in common.
  defp round(module, function, arguments) do
    name = name(module, function)

    guarded(name, fn ->
      case apply(module, function, arguments) do
        {:ok, token, state} when is_binary(token) or token == nil ->
          {:go_on, {:token, token}, {module, state}}

        {:error, reason} ->
          {:error, said(name, reason)}

        _other ->
          {:error, wrong(name, "{:ok, token, state} with a token that is a binary or nil")}
      end
    end)
  end

  defp success(module, token, state) do
    name = name(module, :on_success)

    # It is loaded by now.
    if function_exported?(module, :on_success, 2) do
      guarded(name, fn ->
        case module.on_success(token, state) do
          :ok -> :ok
          {:error, reason} -> {:error, said(name, reason)}
          _other -> {:error, wrong(name, ":ok")}
        end
      end)
    else
      :ok
    end
  end

  # What is raised, thrown or returned may hold a secret: only its kind is told, and where.
  defp guarded(name, fun) do
    fun.()
  rescue
    error -> {:error, "#{name} raised #{inspect(error.__struct__)}#{place(__STACKTRACE__, name)}"}
  catch
    :throw, _value -> {:error, "#{name} threw something#{place(__STACKTRACE__, name)}"}
    :exit, _reason -> {:error, "#{name} exited#{place(__STACKTRACE__, name)}"}
  end

  # Never its arguments.
  defp place([{module, function, arity, _location} | _], name) do
    arity = if is_list(arity), do: length(arity), else: arity

    case Exception.format_mfa(module, function, arity) do
      ^name -> ""
      place -> " in #{place}"
    end
  end

  defp place(_unknown, _name), do: ""

  # A text and an atom are meant to be read; of anything else nobody knows what is in it.
  defp said(name, reason) do
    cond do
      is_atom(reason) -> "#{name} returned the error #{inspect(reason)}"
      is_binary(reason) -> "#{name} returned the error #{Printable.escape(Printable.cut(reason))}"
      is_exception(reason) -> "#{name} returned the error #{inspect(reason.__struct__)}"
      true -> "#{name} returned an error that is neither a text nor an atom"
    end
  end

  defp wrong(name, right),
    do: "#{name} returned something else than #{right} or {:error, reason}"

  defp name(module, function) do
    arity = if function == :initial_response, do: 1, else: 2
    Exception.format_mfa(module, function, arity)
  end

  defp now_ms, do: System.monotonic_time(:millisecond)
end
