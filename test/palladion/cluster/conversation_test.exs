defmodule Palladion.Cluster.ConversationTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog

  alias Palladion.Authenticator.Endpoint
  alias Palladion.Cluster.Conversation

  @endpoint %Endpoint{
    host: "db1.example",
    port: 9042,
    address: "10.0.0.1",
    authenticator: "com.example.KeyAuthenticator"
  }

  # The options say what each callback does.
  defmodule Scripted do
    @behaviour Palladion.Authenticator

    @impl true
    def new(endpoint, script), do: script.new.(endpoint)

    @impl true
    def initial_response(state), do: state.initial_response.(state)

    @impl true
    def evaluate_challenge(challenge, state), do: state.evaluate_challenge.(challenge, state)

    @impl true
    def on_success(token, state), do: state.on_success.(token, state)
  end

  defmodule Trusting do
    @behaviour Palladion.Authenticator

    @impl true
    def new(_endpoint, state), do: {:ok, state}

    @impl true
    def initial_response(state), do: {:ok, nil, state}

    @impl true
    def evaluate_challenge(_challenge, state), do: {:ok, "", state}
  end

  @secret "correct horse battery"

  # A script in which all goes well, with something else in places.
  defp script(other) do
    script = %{
      secret: @secret,
      initial_response: fn state -> {:ok, "first", state} end,
      evaluate_challenge: fn challenge, state -> {:ok, "re: " <> challenge, state} end,
      on_success: fn _token, _state -> :ok end
    }

    script = Map.merge(script, Map.new(other))
    Map.put_new(script, :new, fn _endpoint -> {:ok, script} end)
  end

  defp scripted(other \\ []),
    do: {:authenticator, Scripted, fn -> script(other) end, @endpoint}

  defp start(subject, more \\ []) do
    test = self()

    {keeper, _monitor} =
      Conversation.start(
        Map.merge(
          %{
            answer: &send(test, {:answer, &1, self()}),
            subject: subject,
            timeout: 5_000,
            idle: 10_000
          },
          Map.new(more)
        )
      )

    keeper
  end

  defp answer do
    assert_receive {:answer, answer, _worker}, 5_000
    answer
  end

  defp failure do
    assert {:error, text} = answer()
    text
  end

  # What began with the first answer goes on to the failure of a later one.
  defp failure_of(:new, keeper), do: failure_of(:initial_response, keeper)
  defp failure_of(:initial_response, _keeper), do: failure()

  defp failure_of(:evaluate_challenge, keeper) do
    assert {:token, "first"} = answer()
    Conversation.ask(keeper, {:challenge, "?"})
    failure()
  end

  defp failure_of(:on_success, keeper) do
    assert {:token, "first"} = answer()
    Conversation.ask(keeper, {:success, nil})
    failure()
  end

  defp ended(pid) do
    monitor = Process.monitor(pid)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _reason}, 5_000
  end

  test "goes from new over challenges to success, with the state of the callback before" do
    test = self()

    keeper =
      [
        new: fn endpoint -> {:ok, Map.put(script(counting(test)), :endpoint, endpoint)} end
      ]
      |> scripted()
      |> start()

    assert answer() == {:token, "first"}

    for round <- 1..5 do
      Conversation.ask(keeper, {:challenge, "c#{round}"})
      assert answer() == {:token, "c#{round} #{round}"}
    end

    Conversation.ask(keeper, {:success, "last"})
    assert answer() == :ok
    assert_receive {:succeeded, "last", 5, @endpoint}, 5_000
    ended(keeper)
  end

  defp counting(test) do
    [
      initial_response: fn state -> {:ok, "first", Map.put(state, :rounds, 0)} end,
      evaluate_challenge: fn challenge, %{rounds: rounds} = state ->
        {:ok, "#{challenge} #{rounds + 1}", %{state | rounds: rounds + 1}}
      end,
      on_success: fn token, state ->
        send(test, {:succeeded, token, state.rounds, state.endpoint})
        :ok
      end
    ]
  end

  test "sends no token where there is none, and takes any success without the callback" do
    keeper = start({:authenticator, Trusting, fn -> :a_state end, @endpoint})
    assert answer() == {:token, nil}
    Conversation.ask(keeper, {:challenge, ""})
    assert answer() == {:token, ""}
    Conversation.ask(keeper, {:success, nil})
    assert answer() == :ok
    ended(keeper)
  end

  describe "a failure" do
    @callbacks [new: 1, initial_response: 1, evaluate_challenge: 2, on_success: 2]

    defp failing(function, 1, what), do: [{function, fn _ -> what.() end}]
    defp failing(function, 2, what), do: [{function, fn _, _ -> what.() end}]

    # Each is told with the callback, and shows nothing of a secret.
    defp each_callback(what, text, options \\ []) do
      for {function, arity} <- @callbacks do
        {failure, log} =
          with_log(fn ->
            keeper = function |> failing(arity, what) |> scripted() |> start(options)
            failure = failure_of(function, keeper)
            ended(keeper)
            failure
          end)

        assert failure =~ "ConversationTest.Scripted."
        assert failure =~ "#{function}/#{if function == :initial_response, do: 1, else: 2}"
        assert failure =~ text
        refute failure =~ @secret
        refute log =~ @secret
        refute log =~ "Scripted"
      end
    end

    test "that is returned is told where it is a text or an atom" do
      each_callback(fn -> {:error, "no such user"} end, "returned the error no such user")
      each_callback(fn -> {:error, :denied} end, "returned the error :denied")
      each_callback(fn -> {:error, "a\n[error] b"} end, "the error a\\0A[error] b")

      each_callback(
        fn -> {:error, %RuntimeError{message: @secret}} end,
        "returned the error RuntimeError"
      )

      for reason <- [%{key: @secret}, {@secret, 1}, [@secret]] do
        each_callback(fn -> {:error, reason} end, "an error that is neither a text nor an atom")
      end
    end

    test "that is raised, thrown or an exit is told by its kind" do
      each_callback(fn -> raise "with #{@secret}" end, "raised RuntimeError")
      each_callback(fn -> :erlang.error({:bad, @secret}) end, "raised ErlangError")
      each_callback(fn -> throw(@secret) end, "threw something")
      each_callback(fn -> exit({:secret, @secret}) end, "exited")
      each_callback(fn -> apply(String, :to_integer, [@secret]) end, "raised ArgumentError in ")
      each_callback(fn -> apply(Map, :fetch!, [%{@secret => 1}, 7]) end, "raised KeyError in ")
    end

    test "that is a wrong return value is told with the right ones" do
      for value <- [@secret, nil, :ok, {:ok, @secret, %{}, 1}, {:ok, :no_token, @secret}] do
        for {function, arity} <- [initial_response: 1, evaluate_challenge: 2] do
          keeper = function |> failing(arity, fn -> value end) |> scripted() |> start()
          failure = failure_of(function, keeper)

          assert failure =~
                   "#{function}/#{arity} returned something else than {:ok, token, state}"

          refute failure =~ @secret
        end
      end

      for value <- [:ok, {:ok, 1, 2}, nil] do
        keeper = :new |> failing(1, fn -> value end) |> scripted() |> start()
        assert failure_of(:new, keeper) =~ "new/2 returned something else than {:ok, state}"
      end

      for value <- [{:ok, 1}, true, nil] do
        keeper = :on_success |> failing(2, fn -> value end) |> scripted() |> start()
        assert failure_of(:on_success, keeper) =~ "on_success/2 returned something else than :ok"
      end
    end

    test "to answer in time is told with the limit, and ends what hangs" do
      test = self()

      hang = fn ->
        send(test, {:hanging, self()})
        receive do: (:never -> nil)
      end

      for {function, arity} <- [initial_response: 1, evaluate_challenge: 2, on_success: 2] do
        keeper = function |> failing(arity, hang) |> scripted() |> start(timeout: 1)
        assert failure_of(function, keeper) =~ ~r"#{function}/#{arity} took longer than 1 ms"
        assert_received {:hanging, worker}
        ended(worker)
        ended(keeper)
      end
    end

    test "of the module to be there is like any other" do
      start({:authenticator, NoSuchModule, fn -> [] end, @endpoint})
      assert failure() == "NoSuchModule.new/2 raised UndefinedFunctionError"
    end

    test "of a process that is linked to it is told, and shows nothing" do
      each_callback(
        fn ->
          spawn_link(fn -> exit({:secret, @secret}) end)
          receive do: (:never -> nil)
        end,
        "failed: its process was killed"
      )
    end
  end

  describe "the process" do
    test "is sensitive before anything else, and shows nothing to others" do
      test = self()

      hold = fn _endpoint ->
        Process.put(:held, @secret)
        send(test, {:held, self()})
        receive do: (:never -> nil)
      end

      start(scripted(new: hold))
      assert_receive {:held, worker}, 5_000

      for item <- [:dictionary, :messages, :current_stacktrace] do
        refute inspect(Process.info(worker, item), limit: :infinity) =~ @secret
      end
    end

    test "is killed when nobody waits any more, whatever it does" do
      keeper = start(scripted(new: hanging(self())))
      assert_receive {:hanging, worker}, 5_000
      Conversation.finish(keeper)
      ended(worker)
      ended(keeper)
      refute_received {:answer, _, _}
    end

    test "is killed with the process that was asked, whatever it does" do
      test = self()

      asked =
        spawn(fn ->
          send(test, {:keeper, start(scripted(new: hanging(test)))})
          receive do: (:never -> nil)
        end)

      assert_receive {:hanging, worker}, 5_000
      assert_receive {:keeper, keeper}, 5_000
      Process.exit(asked, :kill)
      ended(worker)
      ended(keeper)
    end

    test "is killed with the one beside it" do
      keeper = start(scripted(new: hanging(self())))
      assert_receive {:hanging, worker}, 5_000
      Process.exit(keeper, :kill)
      ended(worker)
    end

    test "ends with the last answer" do
      keeper = start(scripted())
      assert_receive {:answer, {:token, "first"}, worker}, 5_000
      Conversation.ask(keeper, {:success, nil})
      assert answer() == :ok
      ended(worker)
      ended(keeper)
    end

    test "takes along what the user's code has linked to it" do
      test = self()

      link = fn ->
        {:ok, helper} = Agent.start_link(fn -> @secret end)
        send(test, {:helper, helper})
      end

      on_success = fn _token, _state ->
        link.()
        :ok
      end

      new = fn _endpoint ->
        link.()
        {:ok, script(on_success: on_success)}
      end

      keeper = start(scripted(new: new))
      assert answer() == {:token, "first"}
      Conversation.ask(keeper, {:success, nil})
      assert answer() == :ok

      credentials = fn _endpoint ->
        link.()
        [username: "ann", password: @secret]
      end

      start({:credentials, fn -> %{from: credentials, authorization_id: nil} end, @endpoint})
      assert {:credentials, %{username: "ann"}} = answer()

      for _ <- 1..3 do
        assert_receive {:helper, helper}, 5_000
        ended(helper)
      end
    end

    test "ends when no further question comes, without an answer" do
      keeper = start(scripted(), idle: 20)
      assert answer() == {:token, "first"}
      ended(keeper)
      refute_received {:answer, _, _}
    end

    test "keeps to the time of each answer, and not of all" do
      slow = fn challenge, state ->
        Process.sleep(5)
        {:ok, challenge, state}
      end

      keeper = start(scripted(evaluate_challenge: slow), timeout: 1_000)
      assert answer() == {:token, "first"}

      for round <- 1..20 do
        Conversation.ask(keeper, {:challenge, "#{round}"})
        assert answer() == {:token, "#{round}"}
      end
    end

    test "that can't answer ends without a word of it in the log" do
      test = self()

      log =
        capture_log(fn ->
          keeper =
            start(scripted(),
              answer: fn answer ->
                send(test, {:tried, answer})
                if match?({:token, _}, answer), do: :erlang.error({:badarg, answer})
              end
            )

          assert_receive {:tried, {:token, "first"}}, 5_000
          ended(keeper)
        end)

      refute log =~ "first"
      refute log =~ "badarg"
    end

    defp hanging(test) do
      fn _endpoint ->
        send(test, {:hanging, self()})
        receive do: (:never -> nil)
      end
    end
  end
end
