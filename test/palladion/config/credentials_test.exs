defmodule Palladion.Config.CredentialsTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]

  alias Palladion.Config.Credentials
  alias Palladion.Secret

  @endpoint %{host: "db1", port: 9042, address: "10.0.0.1", authenticator: "a.b.C"}

  def by_host(endpoint, more), do: [username: endpoint.host, password: more]
  def keys(more), do: [access_key_id: "AKID", secret_access_key: more]

  defp fetch(from, authorization_id \\ nil) do
    Credentials.fetch(%{from: from, authorization_id: authorization_id}, @endpoint)
  end

  defp refused(result) do
    assert {:error, text} = result
    assert String.valid?(text)
    refute text =~ "hunter2"
    text
  end

  describe "fetch/2" do
    test "asks functions with the endpoint, in either form" do
      login = {:ok, %{username: "db1", password: "hunter2", authorization_id: nil}}
      assert fetch(&by_host(&1, "hunter2")) == login
      assert fetch({__MODULE__, :by_host, ["hunter2"]}) == login
    end

    test "takes a keyword list or a map, with names as atoms or strings" do
      pairs = [username: "app", password: "hunter2"]
      strings = for {name, value} <- pairs, do: {Atom.to_string(name), value}
      login = %{username: "app", password: "hunter2", authorization_id: nil}

      for answer <- [pairs, strings, Map.new(pairs), Map.new(strings), [expires: 1] ++ pairs] do
        assert fetch(fn _ -> answer end) == {:ok, login}
        assert fetch(fn _ -> {:ok, answer} end) == {:ok, login}
      end

      assert fetch(fn _ -> [username: ~c"app", password: ~c"hunter2"] end) == {:ok, login}
    end

    test "has a role to act as that can be overruled" do
      answer = [username: "app", password: "hunter2"]
      assert {:ok, %{authorization_id: "reports"}} = fetch(fn _ -> answer end, "reports")
      own = [authorization_id: "own"] ++ answer
      assert {:ok, %{authorization_id: "own"}} = fetch(fn _ -> own end, "reports")
      none = [authorization_id: nil] ++ answer
      assert {:ok, %{authorization_id: "reports"}} = fetch(fn _ -> none end, "reports")
    end

    test "says what is missing, and what can't be used" do
      for {answer, text} <- [
            {[], "the function returned neither"},
            {%{}, "the username and the password is missing"},
            {[username: "app"], "the password is missing"},
            {%{"password" => "hunter2"}, "the username is missing"},
            {[username: "app", password: ""], "the password is missing"},
            {[username: "app", password: :hunter2], "the password is no string"},
            {[username: "app", password: "hunter2\0"], "the password has a zero byte"},
            {[username: "app", password: "hunter2\xFF"], "the password is no valid UTF-8"},
            {[username: "app", password: Secret.wrap("hunter2")], "is a Palladion.Secret"},
            {[username: "app", password: "hunter2", authorization_id: 1],
             "the authorization_id is"},
            {nil, "the function returned nil"},
            {"hunter2", "returned neither"},
            {["hunter2"], "returned neither"},
            {[{:username, "app"} | {:password, "hunter2"}], "returned neither"},
            {{:ok, "hunter2"}, "returned neither"},
            {:error, "returned :error"},
            {{:error, :sealed}, "returned an error: :sealed"},
            {{:error, "vault is\nsealed"}, "returned an error: vault is\\0Asealed"},
            {{:error, %RuntimeError{message: "hunter2"}}, "returned an error: RuntimeError"},
            {{:error, {:http, "hunter2"}}, "returned an error"}
          ] do
        assert refused(fetch(fn _ -> answer end)) =~ text
      end
    end

    test "survives whatever functions do" do
      for {function, text} <- [
            {fn _ -> raise "hunter2" end, "the function raised RuntimeError"},
            {fn _ -> throw("hunter2") end, "the function ended with throw"},
            {fn _ -> exit("hunter2") end, "the function ended with exit"},
            {fn :other -> nil end, "the function raised FunctionClauseError"},
            {{MyApp.Nowhere, :login, ["hunter2"]}, "the function raised UndefinedFunctionError"}
          ] do
        assert refused(fetch(function)) =~ text
      end
    end

    test "reads files anew each time", context do
      %{tmp_dir: dir} = tmp_dir(context)
      username = write!(dir, "username", "app\n")
      password = write!(dir, "password", "hunter2\n")
      both = {:login, {:file, username}, {:file, password}}

      assert fetch(both, "me") ==
               {:ok, %{username: "app", password: "hunter2", authorization_id: "me"}}

      write!(dir, "password", "hunter3")
      assert {:ok, %{password: "hunter3"}} = fetch(both)
      assert {:ok, %{password: "x"}} = fetch({:login, {:file, username}, "x"})

      File.rm!(password)
      assert refused(fetch(both)) =~ "#{inspect(password)} can't be read: no such file"

      file = write!(dir, "both", "username = app\npassword = hunter2\nauthorization_id = own")

      assert fetch({:file, file}, "me") ==
               {:ok, %{username: "app", password: "hunter2", authorization_id: "own"}}

      write!(dir, "both", "username = app\n")
      assert refused(fetch({:file, file})) =~ "has no password in it"
    end
  end

  describe "fetch_aws/1" do
    @keys [access_key_id: "AKID", secret_access_key: "hunter2"]

    test "asks functions, in either form" do
      keys = %{
        access_key_id: "AKID",
        secret_access_key: "hunter2",
        session_token: nil,
        expires_at: nil
      }

      assert Credentials.fetch_aws(fn -> @keys end) == {:ok, keys}
      assert Credentials.fetch_aws(fn -> {:ok, Map.new(@keys)} end) == {:ok, keys}
      assert Credentials.fetch_aws({__MODULE__, :keys, ["hunter2"]}) == {:ok, keys}

      assert {:ok, %{session_token: "a+/="}} =
               Credentials.fetch_aws(fn -> [session_token: "a+/="] ++ @keys end)
    end

    test "knows until when they are good" do
      for {time, ms} <- [
            {nil, nil},
            {~U[2030-01-01 00:00:00.250Z], 1_893_456_000_250},
            {1_893_456_000, 1_893_456_000_000},
            {"2030-01-01T00:00:00Z", 1_893_456_000_000},
            {"2030-01-01T01:00:00+01:00", 1_893_456_000_000}
          ] do
        assert {:ok, %{expires_at: ^ms}} =
                 Credentials.fetch_aws(fn -> [expires_at: time] ++ @keys end)
      end

      # Milliseconds are far beyond any year.
      for bad <- [
            1_893_456_000_000,
            -1,
            1.5,
            "soon",
            "2030-01-01T00:00:00",
            ~N[2030-01-01 00:00:00]
          ] do
        result = Credentials.fetch_aws(fn -> [expires_at: bad] ++ @keys end)
        assert refused(result) =~ "the expires_at is no time"
      end
    end

    test "half of them is none" do
      for {answer, text} <- [
            {[access_key_id: "AKID"], "the secret_access_key is missing"},
            {[secret_access_key: "hunter2"], "the access_key_id is missing"},
            {[session_token: "hunter2"],
             "the access_key_id and the secret_access_key is missing"},
            {[access_key_id: "A,B", secret_access_key: "hunter2"], "the access_key_id has a"},
            {[access_key_id: "A", secret_access_key: "hunter2\n"], "the secret_access_key has a"},
            {{:error, "sealed"}, "returned an error: sealed"},
            {nil, "returned nil"}
          ] do
        assert refused(Credentials.fetch_aws(fn -> answer end)) =~ text
      end

      assert refused(Credentials.fetch_aws(fn -> raise "hunter2" end)) =~ "raised RuntimeError"
    end
  end
end
