defmodule Palladion.Cluster.AuthenticatorsTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import Palladion.Test.AuthLibrary

  alias Palladion.Authenticator.Endpoint

  @moduletag :capture_log

  @secret "correct horse battery"

  # Says who it is and does what the test tells it to.
  defmodule Told do
    @behaviour Palladion.Authenticator

    @impl true
    def new(endpoint, %{test: test} = options) do
      send(test, {:new, endpoint, self()})
      {:ok, options}
    end

    @impl true
    def initial_response(%{hang: true}), do: receive(do: (:never -> nil))
    def initial_response(state), do: {:ok, "hello", state}

    @impl true
    def evaluate_challenge("raise", %{secret: secret}), do: raise("with #{secret}")
    def evaluate_challenge("exit", %{secret: secret}), do: exit(secret)
    def evaluate_challenge(challenge, state), do: {:ok, challenge <> "!", state}
  end

  defp told(more \\ %{}),
    do: authenticator(Told, Map.merge(%{test: self(), secret: @secret}, more))

  describe "a login" do
    test "goes from the first question to the last" do
      pid = start(new(told()))
      begin(pid, 1)

      assert_receive {:new, endpoint, _worker}, 5_000

      assert endpoint == %Endpoint{
               host: "db1.example",
               port: 9042,
               address: "10.0.0.1",
               authenticator: "com.example.KeyAuthenticator"
             }

      assert {{:token, "hello"}, worker} = answered(1)

      for challenge <- ["a", "b", "c"] do
        ask(pid, 1, {:challenge, challenge})
        assert answered(1) == {{:token, challenge <> "!"}, worker}
      end

      ask(pid, 1, {:success, nil})
      assert answered(1) == {:ok, worker}
      ask(pid, 1, :end)
      ended(worker)
      refute_received {:answer, _, _, _}
    end

    test "is answered by a process of its own, which nobody is linked to" do
      pid = start(new(told()))
      begin(pid, 1)
      begin(pid, 2)
      assert {{:token, "hello"}, one} = answered(1)
      assert {{:token, "hello"}, two} = answered(2)
      assert one != two
      assert pid not in [one, two]
      {:links, links} = Process.info(pid, :links)
      assert one not in links and two not in links
    end

    test "that hangs keeps no other" do
      context = new(told(%{hang: true}))
      pid = start(context)
      begin(pid, 1)
      assert_receive {:new, _, hanging}, 5_000
      put(context, told())
      begin(pid, 2)
      assert answer(2) == {:token, "hello"}
      ask(pid, 2, {:challenge, "a"})
      assert answer(2) == {:token, "a!"}
      ask(pid, 1, :end)
      ended(hanging)
      refute_received {:answer, 1, _, _}
    end

    test "that fails costs no other, and shows nothing" do
      pid = start(new(told()))

      log =
        capture_log(fn ->
          for id <- 1..3, do: begin(pid, id)
          for id <- 1..3, do: assert(answer(id) == {:token, "hello"})
          ask(pid, 1, {:challenge, "raise"})
          ask(pid, 2, {:challenge, "exit"})
          assert error(1) =~ "Told.evaluate_challenge/2 raised RuntimeError"
          assert error(2) =~ "Told.evaluate_challenge/2 exited"
          ask(pid, 3, {:challenge, "a"})
          assert answer(3) == {:token, "a!"}
        end)

      refute log =~ @secret
      refute log =~ "Told"
    end

    test "that has ended has no more answers" do
      pid = start(new(told()))
      ask(pid, 1, {:challenge, "a"})
      assert error(1) == "the conversation has ended"

      begin(pid, 2)
      assert {{:token, "hello"}, worker} = answered(2)
      ask(pid, 2, :end)
      ended(worker)
      ask(pid, 2, {:challenge, "a"})
      assert error(2) == "the conversation has ended"
    end

    test "is forgotten with its process" do
      pid = start(new(told()))
      begin(pid, 1)
      assert answer(1) == {:token, "hello"}
      assert %{conversations: %{1 => {keeper, _monitor}}} = :sys.get_state(pid)
      ask(pid, 1, {:success, nil})
      assert answer(1) == :ok
      ended(keeper)
      assert %{conversations: none, monitors: none} = :sys.get_state(pid)
      assert none == %{}
    end

    test "that there are too many of is refused, until others have ended" do
      pid = start(new(told(%{hang: true}), max_handshakes: 2))
      for id <- 1..10, do: begin(pid, id)
      for _ <- 1..10, do: assert_receive({:new, _, _worker}, 5_000)
      begin(pid, 11)
      assert error(11) == "there are 10 logins under way already"
      refute_received {:new, _, _}
      ask(pid, 1, :end)
      begin(pid, 12)
      assert_receive {:new, _, _worker}, 5_000
    end

    test "asked for in another way than is configured is told so" do
      for auth <- [nil, %{ask: nil, timeout: 5_000}, told()] do
        context = new(nil)
        put(context, auth)
        pid = start(context)
        begin(pid, 1, :credentials)
        assert error(1) == "the configuration has changed"
        send(pid, {:palladion_auth, 2, {:begin, :aws_credentials, nil}})
        assert error(2) == "the configuration has changed"
        stop_supervised!(Palladion.Cluster.Authenticators)
        stop_supervised!(Agent)
      end
    end
  end

  describe "the process" do
    test "that is killed takes its logins with it, and the next one is asked" do
      context = new(told())
      pid = start(context)
      begin(pid, 1)
      assert {{:token, "hello"}, worker} = answered(1)
      Process.exit(pid, :kill)
      ended(worker)
      assert_receive {:adopted, next}, 5_000
      assert next != pid
      ask(next, 1, {:challenge, "a"})
      assert error(1) == "the conversation has ended"
      begin(next, 2)
      assert answer(2) == {:token, "hello"}
    end

    test "that ends with its cluster ends its logins" do
      pid = start(new(told(%{hang: true})))
      begin(pid, 1)
      assert_receive {:new, _, worker}, 5_000
      stop_supervised!(Palladion.Cluster.Authenticators)
      ended(worker)
    end

    test "holds no secret, nor does its table" do
      context = new(told())
      pid = start(context)
      begin(pid, 1)
      assert {{:token, "hello"}, worker} = answered(1)
      %{conversations: %{1 => {keeper, _monitor}}} = state = :sys.get_state(pid)
      seen = for it <- [worker, keeper, pid], do: Process.info(it)

      for term <- [state, :ets.tab2list(context.table), seen], do: refute(holds?(term, @secret))
      # In what a function has, which prints as nothing, it would be found.
      open = %{test: self(), secret: @secret}
      assert holds?(fn -> open end, @secret)
    end

    defp holds?(term, secret),
      do: term |> :erlang.term_to_binary() |> :binary.match(secret) != :nomatch

    test "takes what it doesn't know" do
      pid = start(new(told()))
      send(pid, :anything)
      ask(pid, 1, :end)
      begin(pid, 2)
      assert answer(2) == {:token, "hello"}
    end

    test "works without a table, for a login that isn't a cluster's" do
      %{argument: argument} = new(told())
      pid = start(%{argument: Map.drop(argument, [:table, :handle])})
      begin(pid, 1)
      assert answer(1) == {:token, "hello"}
    end
  end

  defp put(context, auth) do
    known = Palladion.Cluster.Authenticators.known(auth)
    Palladion.Cluster.NodeTable.put_auth(context.table, known)
  end
end
