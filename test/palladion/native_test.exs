defmodule Palladion.NativeTest do
  @moduledoc """
  The boundary itself: both sides have the same functions, and bad arguments come back as errors.
  """

  use ExUnit.Case, async: true

  import Palladion.Test.Clusters

  alias Palladion.{Cluster, Error, Native, Request, RequestOptions, Result, Secret}
  alias Palladion.Test.Testkit

  @sources Path.expand("../../native/nif/src", __DIR__)
  @stubs Native.__info__(:functions) -- [load: 0]
  @planted "correct horse battery"

  describe "stubs" do
    test "are those of the library's source" do
      in_source = for file <- Path.wildcard(@sources <> "/**/*.rs"), nif <- nifs(file), do: nif
      assert Enum.sort(in_source) == Enum.sort(@stubs)
    end

    test "are all replaced when the library is loaded" do
      for {name, arity} <- @stubs do
        # Atoms are no handle, no time and no secret: nothing begins.
        arguments = List.duplicate(:garbage, arity)

        try do
          apply(Native, name, arguments)
        rescue
          # What takes no secrets may raise.
          error -> assert %ArgumentError{} = error, "#{name}/#{arity}: #{inspect(error)}"
        end
      end
    end

    test "have twins on dirty schedulers where they encode" do
      for {name, arity} <- @stubs, String.starts_with?("#{name}", "submit_") do
        plain = String.replace_suffix("#{name}", "_dirty", "")
        assert {String.to_atom(plain <> "_dirty"), arity} in @stubs
      end
    end

    # `#[rustler::nif] fn name(env: Env, ...)`, and what the macro `submission!` makes of
    # `name, name_dirty, (arguments)`.
    defp nifs(file) do
      source = file |> File.read!() |> String.replace(~r{^\s*//.*$}m, "")

      plain =
        for [_, name, parameters] <-
              Regex.scan(~r/#\[rustler::nif[^\]]*\]\s*fn (\w+)(?:<[^>]*>)?\(([^)]*)\)/, source),
            do: {String.to_atom(name), parameters |> without_env() |> count()}

      submissions =
        for [_, name, dirty, arguments] <-
              Regex.scan(~r/submission!\(\s*(\w+),\s*(\w+),\s*\(([^)]*)\)/, source),
            twin <- [name, dirty],
            # Before them: handle and reference.
            do: {String.to_atom(twin), 2 + count(arguments)}

      plain ++ submissions
    end

    defp without_env(parameters), do: String.replace(parameters, ~r/\benv: Env<[^>]*>,?/, "")

    # Types of more than one parameter would have commas in them.
    defp count(parameters), do: parameters |> String.split(",") |> Enum.count(&(&1 =~ ~r/\S/))
  end

  describe "bad arguments" do
    setup do
      server = Testkit.start_server()
      name = ready_cluster!(server)
      {:ok, entry} = Cluster.fetch(name)
      {_timeout, options, _attempts} = RequestOptions.build(entry, [])
      %{name: name, handle: entry.handle, options: options}
    end

    test "of functions that take secrets, values or statements are returned, not raised",
         %{handle: handle, options: options} do
      execute = [handle, make_ref(), {:text, "SELECT echo(int)"}, [1], options]
      query = [handle, make_ref(), "SELECT echo(int)", options]
      prepare = [handle, make_ref(), "SELECT echo(int)", nil, nil]
      batch = [handle, make_ref(), 0, [{{:text, "SELECT echo(int)"}, [1]}], options]

      calls = [
        secret_new: ["a secret"],
        submit_query: query,
        submit_query_dirty: query,
        submit_prepare: prepare,
        submit_prepare_dirty: prepare,
        submit_execute: execute,
        submit_execute_dirty: execute,
        submit_batch: batch,
        submit_batch_dirty: batch,
        cancel: [make_ref()]
      ]

      for {name, good} <- calls, index <- 0..(length(good) - 1), bad <- garbage(handle) do
        arguments = List.replace_at(good, index, bad)

        # Some of it happens to be good.
        case apply(Native, name, arguments) do
          {:error, {kind, fields}} when is_atom(kind) and is_map(fields) ->
            refute inspect(fields) =~ @planted

          {:ok, request} when is_reference(request) ->
            :ok

          reference when is_reference(reference) and name == :secret_new ->
            :ok
        end
      end
    end

    test "of a cluster's configuration are returned with the option's name", %{name: name} do
      {:ok, config} =
        Palladion.Config.load(
          name: :never_started,
          contact_points: ["localhost"],
          tls: [cacerts: :public_key.cacerts_get()],
          auth: [username: "ann", password: @planted]
        )

      {:ok, callbacks} = Native.callbacks_new()
      good = config |> Palladion.Config.to_native() |> Map.put(:callbacks, callbacks)

      # The library has no use for it yet.
      read = Map.delete(good, :protocol_version)

      for {option, _value} <- read, bad <- [self(), {@planted}, %{1 => @planted}] do
        assert {:error, {:bad_config, %{option: named} = fields}} =
                 Native.cluster_new(Map.put(good, option, bad), self(), 1, 1)

        refute inspect(fields) =~ @planted
        # Of a section, its first option is named.
        assert named == "#{option}" or is_map(good[option]) or option == :contact_points

        assert {:error, {:bad_config, _}} =
                 Native.cluster_new(Map.delete(good, option), self(), 1, 1)
      end

      for bad <- garbage(make_ref()) do
        assert {:error, {:bad_config, _}} = Native.cluster_new(bad, self(), 1, 1)
      end

      # Nothing of that has disturbed the one that runs.
      assert {:ok, _} = Palladion.query(name, "SELECT echo(int)", [1])
    end

    test "handles of another kind are no handles", %{name: name, handle: handle} do
      secret = Secret.wrap(@planted).ref
      ref = make_ref()
      assert {:error, {:bad_argument, %{}}} = Native.cluster_status(secret)
      assert {:error, {:bad_argument, %{}}} = Native.wait_ready(secret, ref)
      assert {:error, {:bad_argument, %{}}} = Native.cancel(handle)
      assert {:error, {:bad_argument, %{}}} = Native.secret_new(handle)
      assert {:ok, _} = Palladion.query(name, "SELECT echo(int)", [1])
    end

    test "values that don't fit are errors that don't show them", %{name: name} do
      types =
        ~w(int bigint text boolean double uuid timestamp blob list<int> map<text,int>) ++
          ["list<list<text>>"]

      for type <- types, bad <- garbage(make_ref()) do
        case Palladion.query(name, "SELECT echo(#{type})", [bad]) do
          {:ok, %Result{}} ->
            :ok

          {:error, %Error{} = error} ->
            refute inspect(error) =~ @planted
            refute Exception.message(error) =~ @planted
        end
      end

      for bad <- garbage(make_ref()) do
        case Palladion.query(name, "SELECT echo(int)", bad) do
          {:ok, %Result{}} -> :ok
          {:error, %Error{} = error} -> refute inspect(error) =~ @planted
        end
      end
    end

    test "statements that don't fit into a batch are errors that don't show them", %{name: name} do
      good = {"SELECT echo(int)", [1]}

      for bad <- garbage(make_ref()),
          statements <- [
            bad,
            [bad],
            [good | bad],
            [good, bad],
            [{bad, [1]}],
            [good, {"SELECT echo(int)", [bad]}],
            [{"SELECT echo(text)", bad}]
          ] do
        case Palladion.batch(name, statements) do
          {:ok, %Result{}} ->
            :ok

          {:error, error} ->
            refute inspect(error) =~ @planted
            refute Exception.message(error) =~ @planted
        end
      end
    end

    test "leave no message behind", %{name: name} do
      for bad <- garbage(make_ref()) do
        Request.query(name, "SELECT echo(text)", [bad], [])
        Request.batch(name, [{"SELECT echo(text)", [bad]}, bad], [])
      end

      assert mailbox() == []
    end

    defp garbage(handle) do
      [
        nil,
        :garbage,
        "",
        @planted,
        <<255, 254>>,
        <<1::3>>,
        -1,
        0x10000000000000000,
        1.5,
        self(),
        make_ref(),
        handle,
        fn -> @planted end,
        [],
        [@planted],
        [@planted | @planted],
        {},
        {:id, @planted},
        {:text, 7},
        {@planted, @planted, @planted, @planted, @planted, @planted},
        %{},
        %{@planted => @planted},
        %{__struct__: Nope, secret: @planted},
        %{__struct__: DateTime, year: @planted},
        nested(10_000),
        Enum.to_list(1..100_000)
      ]
    end

    defp nested(0), do: @planted
    defp nested(depth), do: [nested(depth - 1)]
  end
end
