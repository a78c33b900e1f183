defmodule Palladion.AuthenticatorTest do
  @moduledoc """
  The authenticator in the documentation, as it stands there.
  """

  use ExUnit.Case, async: true

  import Palladion.Test.AuthLibrary

  @source Path.expand("../../lib/palladion/authenticator.ex", __DIR__)
  @name __MODULE__.Documented

  [_, code] =
    @source |> File.read!() |> then(&Regex.run(~r/(      defmodule .*?\n      end\n)/s, &1))

  code
  |> String.replace("MyApp.Login", inspect(@name))
  |> Code.string_to_quoted!()
  |> Code.eval_quoted()

  @key "correct horse battery"
  @challenge "sixteen bytes of"

  setup do
    pid = start(new(authenticator(@name, key: @key)))
    begin(pid, 1)
    %{pid: pid}
  end

  defp mac(who), do: :crypto.mac(:hmac, :sha256, @key, [who, @challenge])

  test "logs in, and verifies the server", %{pid: pid} do
    assert answer(1) == {:token, "my_app"}
    ask(pid, 1, {:challenge, @challenge})
    assert answer(1) == {:token, mac("client")}
    ask(pid, 1, {:success, mac("server")})
    assert answer(1) == :ok
  end

  test "takes no server that shows no proof", %{pid: pid} do
    for {proof, id} <- [{nil, 2}, {"", 3}, {mac("client"), 4}] do
      begin(pid, id)
      assert answer(id) == {:token, "my_app"}
      ask(pid, id, {:challenge, @challenge})
      assert {:token, _} = answer(id)
      ask(pid, id, {:success, proof})
      assert error(id) =~ ~r"on_success/2 returned the error the server (shows no|doesn't know)"
    end
  end

  test "takes no challenge that is too short, and no server of another class", %{pid: pid} do
    assert answer(1) == {:token, "my_app"}
    ask(pid, 1, {:challenge, "short"})
    assert error(1) =~ "returned the error the challenge is too short"

    endpoint = %{host: "db1", port: 9042, address: "10.0.0.1", class: "com.example.Other"}
    send(pid, {:palladion_auth, 2, {:begin, :authenticator, endpoint}})
    assert error(2) =~ "new/2 returned the error not the server that the key is for"
  end
end
